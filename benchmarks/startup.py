"""How long ``aamc plugins`` takes, beside a bare program that imports click and pluggy and scans entry points.

``python benchmarks/startup.py`` prints JSON; the two are measured in turn, in one run. ``ratio`` should be at most 2.
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import time

BARE = "import click, pluggy\nfrom importlib import metadata\nfor point in metadata.entry_points(group='aamc'): print(point.name, point.dist.name)"
OURS = "import sys; sys.argv = ['aamc', 'plugins']\nfrom aamc_sdk.cli import main\nmain()"
RUNS = 21


def seconds(program: str) -> float:
    """Return the wall-clock time of one program in a fresh interpreter."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    for program in (BARE, OURS):
        seconds(program)  # fills the disk's cache and the byte code
    pairs = [(seconds(BARE), seconds(OURS)) for _ in range(RUNS)]
    bare, ours = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(mine / other for other, mine in pairs)
    print(json.dumps({"runs": RUNS, "python": platform.python_version(), "bare_s": bare, "aamc_plugins_s": ours, "ratio": ratio}))


if __name__ == "__main__":
    main()
