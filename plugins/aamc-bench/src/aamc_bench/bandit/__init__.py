"""``aamc bench bandit``: routers that learn while they serve, in the scenarios that operators fear."""
