"""Datasets of the AAMC SDK: formats ``synthetic``, ``outcomes`` and ``llmrouter``, command ``data generate``."""
