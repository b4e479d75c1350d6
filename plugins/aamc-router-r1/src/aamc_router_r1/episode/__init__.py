"""Episodes: the turns of a policy, the calls to models, and the outcome."""
