"""``aamc bench compare``: routers on several datasets with several seeds in one table."""
