"""Microseconds of one decision, as ``aamc bench speed --parts decision`` measures them, in full: prints JSON."""

from speed.benchmark import show

if __name__ == "__main__":
    show("decision", __doc__, full=True)
