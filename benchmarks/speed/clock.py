"""Clocks, and the machine on which they run.

Times are CPU times of the process, the minimum of some repeats. Compared work is measured in turns, so that both sides meet the
same state of the machine, and other programs add little to either.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

MATRIX = 1024
"""Rows and columns of the matrices whose product measures the processor."""


def minimum_cpu_s(works: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Do each piece of work ``repeats`` times, in turns, and return the minimum CPU time of each, in seconds."""
    found = dict.fromkeys(works, float("inf"))
    for _ in range(repeats):
        for name, work in works.items():
            found[name] = min(found[name], cpu_s(work))
    return found


def minimum_call_us(works: Mapping[str, Callable[[], Any]], calls: int, repeats: int) -> dict[str, float]:
    """Do the same with ``calls`` calls of each piece of work at a time; return the minimum CPU time of a call, in microseconds."""
    seconds = minimum_cpu_s({name: repeated(work, calls) for name, work in works.items()}, repeats)
    return {name: 1e6 * minimum / calls for name, minimum in seconds.items()}


def repeated(work: Callable[[], Any], times: int) -> Callable[[], None]:
    """Return work that does some work a number of times."""

    def again() -> None:
        for _ in range(times):
            work()

    return again


def cpu_and_wall_s(work: Callable[[], Any]) -> tuple[float, float]:
    """Return the CPU and the wall-clock time of some work, in seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def cpu_s(work: Callable[[], Any]) -> float:
    """Return the CPU time of some work, in seconds."""
    return cpu_and_wall_s(work)[0]


def peak_mib() -> float:
    """Return the maximum memory of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in KiB, on macOS in bytes
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def matmul_flops(repeats: int = 7) -> float:
    """Return the floating-point operations a second of numpy's product of float32 matrices."""
    matrix = np.random.default_rng(0).random((MATRIX, MATRIX), dtype=np.float32)
    seconds = minimum_cpu_s({"product": lambda: matrix @ matrix}, repeats)["product"]
    return 2 * MATRIX**3 / seconds


def machine() -> dict[str, Any]:
    """Return a description of the machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": _processor(),
        "cores": cores,
        "load": round(os.getloadavg()[0], 1),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "matmul_gflops": round(matmul_flops() / 1e9, 1),
    }


def _processor() -> str:
    """Return the processor's name if the system knows it, else its kind."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def missing(*modules: str) -> str | None:
    """Return the reason why a measurement is impossible: the first module that is not installed; None if all are."""
    absent = next((name for name in modules if importlib.util.find_spec(name) is None), None)
    return None if absent is None else f"{absent} is not installed"
