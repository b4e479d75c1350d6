"""``aamc reproduce``: a paper's figures from our own runs, with its claims."""
