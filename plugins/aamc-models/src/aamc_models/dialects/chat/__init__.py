"""OpenAI's chat, the canonical form."""
