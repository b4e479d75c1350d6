"""Start: ``aamc --version`` and ``aamc plugins`` in fresh interpreters, compared with a bare program that imports click and scans entry points."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from aamc_sdk.interfaces import Progress
from speed.measurement import Measurement, result

NOTHING = "pass"
BARE = "import click, pluggy\nfrom importlib import metadata\nfor point in metadata.entry_points(group='aamc'): print(point.name, point.dist.name)"
AAMC = "import sys; sys.argv = ['aamc', {}]\nfrom aamc_sdk.cli import main\nmain()"
PROGRAMS = {"nothing": NOTHING, "bare": BARE, "--version": AAMC.format("'--version'"), "plugins": AAMC.format("'plugins'")}


def measure(folder: Path, progress: Progress, full: bool) -> dict[str, Any]:
    """Measure CPU milliseconds of fresh interpreters, the median of some, started in turns."""
    for program in PROGRAMS.values():
        cpu_ms(program)  # fills the disk's cache and the byte code
    times = [{name: cpu_ms(program) for name, program in PROGRAMS.items()} for _ in range(21 if full else 7)]
    median = {name: statistics.median(turn[name] for turn in times) for name in PROGRAMS}
    beside = "click, pluggy and a scan of entry points"
    figures = [
        Measurement(what="aamc --version", unit="ms of CPU", value=median["--version"], beside=beside, other=median["bare"], goal="under 60"),
        Measurement(
            what="aamc plugins", unit="ms of CPU", value=median["plugins"], beside=beside, other=median["bare"], goal="under 100, ratio at most 2"
        ),
        Measurement(what=beside, unit="ms of CPU", value=median["bare"], beside="an interpreter that does nothing", other=median["nothing"]),
    ]
    return result(figures, "startup", medians_ms=median)


def cpu_ms(program: str) -> float:
    """Return the CPU time, user and system, of one program in a fresh interpreter."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}  # compiling is done once, by what installs
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command, quiet = [sys.executable, "-c", program], subprocess.DEVNULL
    subprocess.run(command, stdout=quiet, stderr=quiet, env=environment, check=True)  # a program of this module
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
