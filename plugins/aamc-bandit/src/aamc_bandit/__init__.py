"""Routers that learn from feedback while they serve: Thompson sampling, epsilon-greedy, canary and shadow."""
