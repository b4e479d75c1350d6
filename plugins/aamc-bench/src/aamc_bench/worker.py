"""What happens in a job's own process."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from aamc_sdk.cli import Lines
from aamc_sdk.storage import write_json

if TYPE_CHECKING:
    from aamc_bench.grid import Job


def work(job: Job, place: Path) -> None:
    """Do a job in a process that ends with its parent; the exit status is 1 where it fails."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears Ctrl-C, and ends its jobs
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if not do(job, place):
        sys.exit(1)


def do(job: Job, place: Path) -> bool:
    """Do a job and write its result; return whether it succeeded. Where it fails, the last line of its log says why."""
    with (place / f"{job.key}.log").open("w", encoding="utf-8") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        try:
            module, _, name = job.function.partition(":")
            function = getattr(importlib.import_module(module), name)
            result = function(place / job.key, Lines(), **job.arguments)
            write_json(place / f"{job.key}.json", {"schema": 1, "function": job.function, "arguments": job.arguments, "result": result})
        except Exception as error:
            traceback.print_exc()
            print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=log)  # to the log
            return False
    return True


def _end_with_parent() -> None:
    """End when the parent does, even where it was killed: nobody would wait for the result, and a second start would meet this one."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
