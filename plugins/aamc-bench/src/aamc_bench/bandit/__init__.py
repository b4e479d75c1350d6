"""``aamc bench bandit``: routers that learn while they serve, scenario by scenario."""
