"""How fast everything is, beside other programs in the same run: ``aamc bench speed``."""
