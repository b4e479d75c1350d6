"""One request: the decision, its entry in the log, and the attempts and feedback that follow."""
