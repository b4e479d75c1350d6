"""CPU time of ``aamc --version`` and ``aamc plugins``, as ``aamc bench speed --parts startup --preset full`` measures it: prints JSON."""

from speed.benchmark import show

if __name__ == "__main__":
    show("startup", __doc__, full=True)
