"""The commands of aamc-models."""
