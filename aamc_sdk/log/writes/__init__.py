"""The checks and changes of a write, and many writes in one transaction."""
