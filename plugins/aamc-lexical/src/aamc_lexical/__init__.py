"""The estimator ``lexical``, and the heads and quality experts that any embedding of a query can train."""
