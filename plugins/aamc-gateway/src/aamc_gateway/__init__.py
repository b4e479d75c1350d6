"""An OpenAI- and Anthropic-compatible gateway for the AAMC SDK."""
