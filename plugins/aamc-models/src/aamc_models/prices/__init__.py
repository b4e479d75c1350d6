"""List prices of models: LiteLLM's price map, and pool files that they are filled into."""
