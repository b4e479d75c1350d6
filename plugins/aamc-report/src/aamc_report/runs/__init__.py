"""The comparison of several runs: reading them, paired differences, and the page."""
