"""The task-complexity estimator: a text encoder with heads and the expected quality of each candidate."""
