"""``aamc bench unseen-models``: routing with candidates that have few or no training outcomes."""
