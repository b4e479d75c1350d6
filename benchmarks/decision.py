"""Microseconds of one decision, as ``aamc bench speed --parts decision`` measures them, in full: prints JSON."""

from aamc_bench.speed.experiment import show

if __name__ == "__main__":
    show("decision", __doc__, full=True)
