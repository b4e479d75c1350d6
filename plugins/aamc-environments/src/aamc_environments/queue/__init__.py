"""Environment ``queue``: a simulated pool of models under load."""
