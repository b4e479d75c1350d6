"""A world with known truth, in which a policy small enough for a CPU can be trained and compared with the best possible one."""
