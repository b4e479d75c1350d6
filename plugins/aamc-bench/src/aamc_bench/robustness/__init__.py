"""``aamc bench robustness``: routers under noise on estimates and on texts, and on unfamiliar categories."""
