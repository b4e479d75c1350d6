"""Training on any embedding: the training rows, cross-fitting, and the estimator ``lexical``."""
