"""``aamc bench compare``: routers x datasets x seeds in one table."""
