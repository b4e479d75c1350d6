"""The evaluation of Router-R1 and baselines on questions with gold answers."""
