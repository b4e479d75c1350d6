"""``aamc reproduce``: a paper's figures from our own runs, beside its claims."""
