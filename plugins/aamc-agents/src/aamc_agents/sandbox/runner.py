"""Runs Python programs in a separate process with limits: time, memory, no network, no files outside a folder.

What it protects from: programs that never end, use up memory or processes, or by mistake or by a careless model's
advice read and write where they should not. On Linux on x86-64 the kernel enforces all of it (see
:mod:`aamc_puppeteer.agents.confinement`); elsewhere the interpreter alone keeps files and sockets closed, which stops accidents and
no attacker; what held is in :attr:`Ran.fences`. What it does not protect from: errors of the kernel, what a program
does with the processor time and the memory that it may use, and being read: a program sees Python's library and the
shared objects of the system. Put code of people who are after you into a virtual machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import attrs

from aamc_puppeteer.agents.scratch import MOST_FILES, fills, remove
from aamc_sdk.errors import DataError

_CHILD = Path(__file__).with_name("confinement.py")
_FENCED = re.compile(r"```(?:python|py)?[^\n]*\n(.*?)```", re.DOTALL)
_CHUNK = 65_536
_LOOK_EVERY = 0.05
"""Seconds between looks at what a program has written."""


@attrs.frozen(kw_only=True)
class Limits:
    """What a program may use.

    Attributes:
        seconds: Of wall-clock time, and about as many of the processor's.
        memory_mb: Megabytes of address space, the interpreter's own 30 included.
        file_mb: Megabytes of each file that it writes.
        disk_mb: Megabytes of all its files together; looked at many times a second, so that a little more may be written.
        printed_bytes: Of what it prints, after which it is stopped.
    """

    seconds: float = 5.0
    memory_mb: int = 512
    file_mb: int = 16
    disk_mb: int = 64
    printed_bytes: int = 100_000


@attrs.frozen(kw_only=True)
class Ran:
    """What came of a program.

    Attributes:
        printed: Its standard output.
        error: Why it did not end well, in a line; None where it did.
        fences: What confined it, of ``limits``, ``landlock``, ``seccomp`` and ``audit``.
    """

    printed: str
    error: str | None
    fences: tuple[str, ...] = ()

    @property
    def fenced_by_kernel(self) -> bool:
        """Whether the kernel kept it from files, sockets and processes, and not the interpreter alone."""
        return {"landlock", "seccomp"} <= set(self.fences)


async def run_python(programs: Sequence[str], limits: Limits, files: Mapping[str, str] | None = None) -> Ran:
    """Run programs one after the other in one fresh process and namespace, in an empty folder of its own.

    Args:
        programs: Python sources; the value of an expression at a program's end is printed.
        limits: What they may use together.
        files: What lies in the folder, by plain file name.

    Raises:
        DataError: A file's name is a path.
    """
    folder = Path(tempfile.mkdtemp(prefix="aamc-python-")).resolve()
    try:
        for name, content in (files or {}).items():
            _check_plain(name)
            (folder / name).write_text(content, encoding="utf-8")
        return await _run(programs, limits, folder)
    finally:
        remove(folder)


def _check_plain(name: str) -> None:
    if Path(name).name != name or name in ("", ".", ".."):
        raise DataError(f"a task's file must have a plain name such as prices.csv, not {name!r}")


async def _run(programs: Sequence[str], limits: Limits, folder: Path) -> Ran:
    options = {"seconds": limits.seconds, "memory_mb": limits.memory_mb, "file_mb": limits.file_mb, "folder": str(folder)}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-S", "-B", str(_CHILD), json.dumps(options)),
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        cwd=folder,
        env={"PYTHONHASHSEED": "0", "PYTHONIOENCODING": "utf-8"},
        start_new_session=True,
    )
    watching = asyncio.create_task(_watch(process, limits, folder))
    late = False
    printed = complaints = b""
    try:
        reading = _read(process, process.stdout, limits), _read(process, process.stderr, limits)
        done = asyncio.gather(*reading, _feed(process, programs), process.wait())
        printed, complaints, *_ = await asyncio.wait_for(done, limits.seconds)
    except asyncio.TimeoutError:
        late = True
    finally:
        watching.cancel()
        _kill(process)
        await process.wait()
    fences, _, trace = complaints.decode(errors="replace").partition("\n")
    if late or process.returncode == -signal.SIGXCPU:
        error: str | None = f"it took longer than {limits.seconds:g} s"
    elif len(printed) >= limits.printed_bytes:
        error = f"it printed more than {limits.printed_bytes} bytes"
    elif fills(folder, limits.disk_mb):
        error = f"it wrote more than {limits.disk_mb} MB, or {MOST_FILES} files and folders, or deeper than paths are long"
    else:
        error = _last(trace.splitlines()) or f"it ended with code {process.returncode}" if process.returncode else None
    return Ran(printed=printed.decode(errors="replace"), error=error, fences=tuple(fences.split()))


async def _watch(process: asyncio.subprocess.Process, limits: Limits, folder: Path) -> None:
    """Stop a program that fills the disk."""
    while not fills(folder, limits.disk_mb):
        await asyncio.sleep(_LOOK_EVERY)
    _kill(process)


async def _feed(process: asyncio.subprocess.Process, programs: Sequence[str]) -> None:
    if process.stdin is not None:
        with suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(json.dumps(list(programs)).encode())
            await process.stdin.drain()
        process.stdin.close()


async def _read(process: asyncio.subprocess.Process, stream: asyncio.StreamReader | None, limits: Limits) -> bytes:
    """Return what a program writes; one that writes too much is stopped."""
    content = b""
    while stream is not None and (chunk := await stream.read(_CHUNK)):
        content += chunk
        if len(content) >= limits.printed_bytes:
            _kill(process)
            break
    return content[: limits.printed_bytes]


def _kill(process: asyncio.subprocess.Process) -> None:
    """End the process and whatever it may have started."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _last(lines: Iterable[str]) -> str:
    return next((line.strip() for line in reversed(list(lines)) if line.strip()), "")


def code_in(text: str) -> str:
    """Return the program that a text holds: what stands between its first ``` fences, else all of it."""
    fenced = _FENCED.search(text)
    return fenced[1] if fenced else text
