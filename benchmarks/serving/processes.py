"""Server processes: started on a core of their own, with the processor time and memory that they and their children use."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

PAGE = os.sysconf("SC_PAGE_SIZE")


def family(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(folder.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def processor_s(pid: int) -> float:
    """Return the processor time of a process and its descendants in seconds, to the nanosecond; that of ended threads is not in it."""
    total = 0
    for one in family(pid):
        for task in Path(f"/proc/{one}/task").iterdir():
            try:
                total += int((task / "schedstat").read_text().split()[0])
            except OSError:
                continue
    return total / 1e9


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process and its descendants in megabytes."""
    return sum(int(Path(f"/proc/{one}/statm").read_text().split()[1]) for one in family(pid)) * PAGE / 1e6


@attrs.define
class Server:
    """A server's process, with its base URL without ``/v1``, the wall-clock time until it was ready, and the headers and the model of requests."""

    name: str
    url: str
    process: subprocess.Popen[bytes]
    start_s: float
    headers: Mapping[str, str] = attrs.field(factory=dict)
    model: str = "aamc/auto"

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start(name: str, command: Sequence[str], url: str, ready: str, folder: Path, core: int, **fields: object) -> Server:
    """Start a server on a core and wait until it is ready; its output goes to ``NAME.log``.

    Raises:
        RuntimeError: It ended, or took two minutes.
    """
    began = time.monotonic()
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            list(command),
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: os.sched_setaffinity(0, {core % (os.cpu_count() or 1)}),
        )
    while True:
        try:
            with urllib.request.urlopen(f"{url}{ready}", timeout=5):
                return Server(name, url, process, time.monotonic() - began, **fields)  # type: ignore[arg-type]  # those of the class
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            if process.poll() is not None or time.monotonic() - began > 120:
                process.kill()
                raise RuntimeError(f"{name} did not start: {(folder / f'{name}.log').read_text(errors='replace')[-800:]}") from None
            time.sleep(0.01)
