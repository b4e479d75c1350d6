"""The evaluation of Router-R1 on questions with gold answers, beside baselines."""
