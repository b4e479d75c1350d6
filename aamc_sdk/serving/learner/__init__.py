"""Online learning: a router learns the log on one thread, and its state is saved in the log."""
