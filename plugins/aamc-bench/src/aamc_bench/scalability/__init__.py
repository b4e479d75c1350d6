"""``aamc bench scalability``: decision time and utility against the number of candidates."""
