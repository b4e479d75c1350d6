"""Time and memory of an evaluation with all intervals, measured as by ``aamc bench speed --parts evaluation``: prints JSON."""

from aamc_bench.speed.experiment import show

if __name__ == "__main__":
    show("evaluation", __doc__, full=True)
