"""Experiments: train routers and estimators, compare them, and evaluate them on logs."""
