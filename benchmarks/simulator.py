"""Steps per second of the simulator, as ``aamc bench speed --parts simulator`` measures them, in full: prints JSON."""

from speed.benchmark import show

if __name__ == "__main__":
    show("simulator", __doc__, full=True)
