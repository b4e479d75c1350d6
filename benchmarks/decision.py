"""Microseconds of one decision, as ``aamc bench speed --parts decision --preset full`` measures them: prints JSON."""

from speed.benchmark import show

if __name__ == "__main__":
    show("decision", __doc__, full=True)
