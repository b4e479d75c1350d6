"""A grid of jobs, each in a process of its own, each result kept as soon as it is there.

A job's result is ``KEY.json``, with what it was made from; a job that has one is not done again. What it
prints is in ``KEY.log``, and ``KEY/`` is a folder for its own use, where it finds what it left there before.
"""

from __future__ import annotations

import multiprocessing
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import attrs

from aamc_bench.worker import work
from aamc_sdk.errors import AamcError, OutputError
from aamc_sdk.interfaces import Progress
from aamc_sdk.storage import make_folder, plain, read_json

JOBS = "jobs"
"""The folder of the jobs, below that of the experiment."""
THREADS = "OMP_NUM_THREADS"
"""Where numerical libraries (OpenBLAS, MKL, torch) look for the number of threads, when they are loaded."""


def _check_key(job: Job, attribute: attrs.Attribute[Any], key: str) -> None:
    if not re.fullmatch(r"[\w=+-][\w.=+-]*", key):
        raise ValueError(f"a job's key names its files, so it is made of letters, digits and . _ = + -, not {key!r}")


@attrs.frozen
class Job:
    """A piece of work that needs no other piece.

    Attributes:
        key: Its name, and that of its files.
        function: ``"package.module:function"``; called as ``function(folder, progress, **arguments)`` in another
            process. It returns what JSON can hold.
        arguments: What JSON can hold.
    """

    key: str = attrs.field(validator=_check_key)
    function: str
    arguments: Mapping[str, Any] = attrs.field(factory=dict, converter=plain)


class JobsFailed(AamcError):
    """Raised when jobs failed; the others were done nevertheless.

    Attributes:
        results: Those of the jobs that were done, by key.
        failures: What went wrong with the others, by key.
    """

    def __init__(self, results: Mapping[str, Any], failures: Mapping[str, str], folder: Path) -> None:
        (key, why), *_ = failures.items()
        super().__init__(f"{len(failures)} of {len(results) + len(failures)} jobs failed, first {key}: {why} ({folder / JOBS / key}.log says more)")
        self.results = results
        self.failures = failures


def slug(text: str) -> str:
    """Return a text as a part of a key."""
    return re.sub(r"[^\w.=+-]+", "-", text).strip("-.")[-60:]


def run_grid(jobs: Sequence[Job], folder: Path, workers: int | None, progress: Progress) -> dict[str, Any]:
    """Do the jobs that are not done yet, several at a time, and return all results by key.

    Args:
        jobs: What to do; each key stands once.
        folder: The experiment's; the jobs' files are in ``jobs/`` below it.
        workers: Jobs at a time; None for as many as there are cores. They share the cores evenly.
        progress: Where to report.

    Raises:
        JobsFailed: After all jobs, where some failed.
        OutputError: The folder holds a job of the same key with other arguments.
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


def _work_off(jobs: Sequence[Job], place: Path, workers: int, progress: Progress) -> dict[str, str]:
    """Do jobs, so many at a time; return what went wrong, by key."""
    waiting, failures = list(jobs), dict[str, str]()
    workers = min(workers, max(len(waiting), 1))
    with _processes() as running:
        while waiting or running:
            while waiting and len(running) < workers:
                job = waiting.pop(0)
                running[_start(job, place, max(_cores() // workers, 1))] = job
            ended = wait([process.sentinel for process in running])
            for process in [process for process in running if process.sentinel in ended]:
                job = running.pop(process)
                process.join()
                if _kept(job, place) is None:
                    failures[job.key] = _why(process, place / f"{job.key}.log")
                    progress.say(f"job {job.key} failed: {failures[job.key]}")
                progress.advance()
    return failures


@contextmanager
def _processes() -> Iterator[dict[BaseProcess, Job]]:
    """Give room for the running processes and their jobs; whatever ends the block ends them."""
    running: dict[BaseProcess, Job] = {}
    try:
        yield running
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.join()


def _start(job: Job, place: Path, threads: int) -> BaseProcess:
    """Start a job in a fresh interpreter: a forked one would inherit threads and locks of the numerical libraries."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=(job, place), name=job.key)
    with _told(threads):
        process.start()
    return process


@contextmanager
def _told(threads: int) -> Iterator[None]:
    """Tell processes that are started meanwhile how many threads to use, unless the user does: they load numpy before a job's first line."""
    if THREADS in os.environ:
        yield
        return
    os.environ[THREADS] = str(threads)
    try:
        yield
    finally:
        del os.environ[THREADS]


def _kept(job: Job, place: Path) -> Mapping[str, Any] | None:
    """Return what a finished job left, None where it is not finished."""
    path = place / f"{job.key}.json"
    if not path.exists():
        return None
    kept: Mapping[str, Any] = read_json(path)
    if (kept.get("function"), kept.get("arguments")) != (job.function, job.arguments):
        raise OutputError(f"{path} was made with other arguments; choose another folder with --out")
    return kept


def _why(process: BaseProcess, log: Path) -> str:
    """Return in a line why a job has no result."""
    if process.exitcode is not None and process.exitcode < 0:
        return f"its process was killed by signal {-process.exitcode}; is there enough memory for so many workers?"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return lines[-1] if lines else f"its process ended with status {process.exitcode}"


def _cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
