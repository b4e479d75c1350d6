"""``aamc bench robustness``: routers under noise on estimates and texts, and on categories without training data."""
