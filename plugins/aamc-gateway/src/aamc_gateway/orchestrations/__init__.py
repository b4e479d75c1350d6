"""Orchestrators as models: ``aamc/NAME`` runs one, and its answer comes in the client's dialect."""
