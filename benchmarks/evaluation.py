"""Seconds and memory of an evaluation with all intervals, as ``aamc bench speed --parts evaluation --preset full`` measures them: prints JSON."""

from speed.benchmark import show

if __name__ == "__main__":
    show("evaluation", __doc__, full=True)
