"""``aamc bench unseen-models``: routing with candidates that training knew little of."""
