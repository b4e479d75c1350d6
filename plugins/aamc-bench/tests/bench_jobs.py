"""Jobs that tests run in processes of their own."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from aamc_sdk.interfaces import Progress


def square(folder: Path, progress: Progress, number: int, unlucky: int = -1, exponent: int = 2) -> int:
    folder.mkdir(exist_ok=True)
    with (folder / "began").open("a") as file:
        file.write("began\n")
    if number == unlucky:
        raise ValueError(f"unlucky {number}")
    return number**exponent


def wait(folder: Path, progress: Progress, seconds: float) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "pid").write_text(str(os.getpid()))
    time.sleep(seconds)


def die(folder: Path, progress: Progress) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave(folder: Path, progress: Progress) -> None:
    raise SystemExit(3)


def talk(folder: Path, progress: Progress) -> None:
    print("said aloud")  # noqa: T201  # what is tested


def count_threads(folder: Path, progress: Progress) -> int:
    """Return the maximum number of threads that a numerical library takes."""
    import numpy  # noqa: F401  # the library that is looked at
    from threadpoolctl import threadpool_info

    return max(int(library["num_threads"]) for library in threadpool_info())
