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


def talk(folder: Path, progress: Progress) -> str:
    print("said aloud")  # noqa: T201  # what is tested
    return os.environ["OMP_NUM_THREADS"]
