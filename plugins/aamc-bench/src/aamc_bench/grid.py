"""A grid of jobs, each in its own process; each result is kept as soon as it is there.

``KEY.json`` holds a job's result and arguments; a job with a result is not done again. ``KEY.log`` holds the job's output, and
``KEY/`` is a folder for the job's own files, which it finds again when it is resumed.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import re
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing import connection
from pathlib import Path
from typing import Any

import attrs

from aamc_sdk.cli import LineProgress
from aamc_sdk.errors import AamcError, CheckpointError, OutputError
from aamc_sdk.interfaces import Progress
from aamc_sdk.storage import check_file_hashes, file_hashes, json_hash, make_folder, plain, read_json_object, write_json

JOBS = "jobs"
"""The folder of the jobs, below the experiment's."""
FAILED = 70
"""The exit status of a job's process if the job failed; its log ends with the reason."""
THREADS = "OMP_NUM_THREADS"
"""The environment variable from which numerical libraries (OpenBLAS, MKL, torch) read the number of threads when they are loaded."""


def _check_key(job: GridJob, attribute: attrs.Attribute[Any], key: str) -> None:
    if not re.fullmatch(r"[\w=+-][\w.=+-]*", key):
        raise ValueError(f"a job's key names its files, so it must consist of letters, digits and . _ = + -, not {key!r}")


@attrs.frozen
class GridJob:
    """A piece of work that depends on no other job of its grid.

    Attributes:
        key: The job's name, and that of its files.
        function: ``"package.module:function"``, called as ``function(folder, progress, **arguments)`` in another process. It
            returns JSON types.
        arguments: JSON types.
    """

    key: str = attrs.field(validator=_check_key)
    function: str
    arguments: Mapping[str, Any] = attrs.field(factory=dict, converter=plain)


class JobsFailed(AamcError):
    """Raised at the end of a grid if jobs failed; ``results`` are those of the other jobs, by key."""

    def __init__(self, results: Mapping[str, Any], failures: Mapping[str, str], folder: Path) -> None:
        (key, why), *_ = failures.items()
        super().__init__(f"{len(failures)} of {len(results) + len(failures)} jobs failed, first {key}: {why} ({folder / JOBS / key}.log says more)")
        self.results = results


def slug(text: str) -> str:
    """Return a text as a part of a key."""
    return re.sub(r"[^\w.=+-]+", "-", text).strip("-.")[-60:]


def run_grid(jobs: Sequence[GridJob], folder: Path, workers: int | None, progress: Progress) -> dict[str, Any]:
    """Do the jobs of an experiment's folder that have no result yet, and return all results by key.

    As many jobs as there are workers, by default one for each core, run at a time and share the cores evenly.

    Raises:
        JobsFailed: After all jobs, if some failed.
        OutputError: The folder holds a result of the same key with other arguments.
        CheckpointError: A result in the folder is damaged.
    """
    place = folder / JOBS
    make_folder(place)
    waiting = [job for job in jobs if _kept(job, place) is None]
    progress.start("Jobs", len(jobs))
    progress.advance(len(jobs) - len(waiting))
    failures = _work_off(waiting, place, workers or _cores(), progress)
    results = {job.key: kept["result"] for job in jobs if (kept := _kept(job, place)) is not None}
    if failures:
        raise JobsFailed(results, failures, folder)
    return results


def _work_off(jobs: Sequence[GridJob], place: Path, workers: int, progress: Progress) -> dict[str, str]:
    """Do jobs, at most ``workers`` at a time; return the reason for each failure, by key.

    Each job has a fresh interpreter: a forked one would inherit threads and locks of the numerical libraries.
    """
    waiting, failures = deque(jobs), dict[str, str]()
    workers = min(workers, max(len(jobs), 1))
    running: dict[int, tuple[GridJob, multiprocessing.process.BaseProcess]] = {}  # by the process's sentinel
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                job = waiting.popleft()
                process = multiprocessing.get_context("spawn").Process(target=_do_and_exit, args=(job, place))
                with _threads_of_children(max(_cores() // workers, 1)):
                    process.start()
                running[process.sentinel] = job, process
            for sentinel in connection.wait(list(running)):
                job, ended = running.pop(sentinel)  # type: ignore[arg-type]  # the sentinels are numbers
                ended.join()
                if ended.exitcode:
                    failures[job.key] = _reason(ended.exitcode, place / f"{job.key}.log")
                    progress.say(f"job {job.key} failed: {failures[job.key]}")
                progress.advance()
    finally:
        for _, started in running.values():  # empty unless an error or the user ends the grid
            started.terminate()
            started.join()
    return failures


def _reason(status: int, log: Path) -> str:
    """Return in a line why a job failed."""
    if status == FAILED:
        return log.read_text(encoding="utf-8").splitlines()[-1]
    if status < 0:
        return f"its process was killed by signal {-status}; is there enough memory for all workers?"
    return f"its process ended with status {status}"


@contextlib.contextmanager
def _threads_of_children(threads: int) -> Iterator[None]:
    """Set the number of threads of processes that are started meanwhile, unless the user has set it: they load numpy before a job begins."""
    if THREADS in os.environ:
        yield
        return
    os.environ[THREADS] = str(threads)
    try:
        yield
    finally:
        del os.environ[THREADS]


def _kept(job: GridJob, place: Path) -> Mapping[str, Any] | None:
    """Return the content of a finished job's file, None for an unfinished one."""
    path = place / f"{job.key}.json"
    if not path.exists():
        return None
    advice = f"delete {path}, and do its job again with --resume {place.parent}"
    kept = read_json_object(path, advice)
    if not {"arguments", "result"} <= kept.keys():
        raise CheckpointError(f"{path} is not the result of a job; {advice}")
    if kept["arguments"] != job.arguments:
        raise OutputError(f"{path} was made with other arguments; choose another folder with --out")
    if kept["result"] is None and "sha256" not in kept:  # version 0.1 kept it so, and no job returns nothing
        return None
    hashed = json_hash(kept["result"])
    if kept.get("sha256", hashed) != hashed:  # version 0.1 wrote none
        raise CheckpointError(f"{path} was changed after it was written; {advice}")
    check_file_hashes(place / job.key, kept.get("files", {}), advice)
    return kept


def _cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def do(job: GridJob, place: Path) -> str | None:
    """Do a job in this process and write its result and its log; return the reason if it fails."""
    with (place / f"{job.key}.log").open("w", encoding="utf-8") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        try:
            module, _, name = job.function.partition(":")
            function = getattr(importlib.import_module(module), name)
            result = plain(function(place / job.key, LineProgress(), **job.arguments))
            about = {"schema": 1, "function": job.function, "arguments": job.arguments, "result": result, "sha256": json_hash(result)}
            own = sorted(path for path in (place / job.key).glob("*") if path.is_file())
            write_json(place / f"{job.key}.json", about | {"files": file_hashes(place / job.key, own)})
        except (Exception, SystemExit) as error:
            traceback.print_exc()
            why = f"{type(error).__name__}: {' '.join(str(error).split())}"
            print(why, file=log)  # the log ends with it
            return why
    return None


def _do_and_exit(job: GridJob, place: Path) -> None:
    """Do a job as a process that ends with its parent, even if that is killed, and leaves Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if do(job, place) is not None:
        sys.exit(FAILED)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
