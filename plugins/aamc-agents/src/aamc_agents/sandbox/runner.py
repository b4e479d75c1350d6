"""Starts the sandbox's child process, feeds it programs, and enforces the limits of time, output and disk."""

from __future__ import annotations

import asyncio
import base64
import errno
import itertools
import json
import os
import re
import secrets
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path

import attrs

from aamc_agents.sandbox.system_calls import compiled_filter
from aamc_sdk.errors import ConfigError, DataError

MAX_FILES = 5_000
"""Maximum number of files and folders."""
_CHILD = Path(__file__).with_name("confinement.py")
_FENCED = re.compile(r"```[^\n`]*\n(.*?)```", re.DOTALL)
_CHUNK = 65_536
REFUSAL = "the kernel here does not confine programs, so none is run (it needs Linux with Landlock, and libseccomp)"
"""The error where the kernel's fences are missing and required."""
_CHECK_INTERVAL_S = 0.05
"""Seconds between checks of the disk space that a program uses."""


@attrs.frozen(kw_only=True)
class SandboxLimits:
    """The resources that a program may use.

    Attributes:
        seconds: Wall-clock time, and about as much processor time.
        memory_mb: Address space in MB, including the interpreter's own 30.
        file_mb: Maximum size of one file in MB.
        disk_mb: Maximum size of all files in MB; checked 20 times a second, so a little more may be written.
        printed_bytes: Maximum size of the standard output, and of the standard error; a program that prints more is stopped.
        unconfined: Whether programs run where the kernel does not confine them.
    """

    seconds: float = 5.0
    memory_mb: int = 512
    file_mb: int = 16
    disk_mb: int = 64
    printed_bytes: int = 100_000
    unconfined: bool = False


@attrs.frozen(kw_only=True)
class Ran:
    """The result of a program.

    Attributes:
        printed: Its standard output.
        error: Why it failed, in one line; None if it succeeded.
        fences: The fences that confined it: some of ``limits``, ``landlock``, ``seccomp`` and ``audit``.
        late: Whether it was stopped at the limit of time, which it may keep on a machine with less to do.
    """

    printed: str
    error: str | None
    fences: tuple[str, ...] = ()
    late: bool = False

    @property
    def fenced_by_kernel(self) -> bool:
        """Whether the kernel, not only the interpreter, kept it from files, sockets and processes."""
        return {"landlock", "seccomp"} <= set(self.fences)


@cache
def machine_fences() -> Ran:
    """Return the result of no program, with the fences that confine programs on this machine."""
    with ThreadPoolExecutor(1) as elsewhere:  # this thread may run an event loop already
        return elsewhere.submit(asyncio.run, run_python([], SandboxLimits(seconds=60.0))).result()


def check_confined(unconfined: bool, name: str) -> None:
    """Raise ConfigError unless the kernel confines programs, or the option ``name`` allows unconfined ones."""
    if not unconfined and not machine_fences().fenced_by_kernel:
        raise ConfigError(f"{REFUSAL}; set {name}=true for programs that you trust")


async def run_python(programs: Sequence[str], limits: SandboxLimits, files: Mapping[str, str] | None = None, module: str = "__main__") -> Ran:
    """Run programs one after the other in one new process and module, in a new folder.

    Args:
        programs: Python sources; the value of an expression at a program's end is printed.
        limits: Limits of all programs together.
        files: Contents of the folder, by plain file name.
        module: The module's ``__name__``.

    Returns:
        The result; an error if the kernel does not confine programs, unless ``limits.unconfined`` allows it.

    Raises:
        DataError: A file's name is a path.
    """
    folder = Path(tempfile.mkdtemp(prefix="aamc-python-")).resolve()
    try:
        for name, content in (files or {}).items():
            if Path(name).name != name or name in ("", ".", ".."):
                raise DataError(f"a task's file must have a plain name such as prices.csv, not {name!r}")
            (folder / name).write_text(content, encoding="utf-8")
        return await _run(programs, limits, folder, module)
    finally:
        remove(folder)


async def run_tests(program: str, tests: str, limits: SandboxLimits, files: Mapping[str, str] | None = None) -> str:
    """Run a program, then its tests, which fail by an error, as :func:`run_python` does; return why they fail, ``""`` if they pass.

    The program is run as if it were imported, so not what stands under ``if __name__ == "__main__"``, which often reads input.
    A program that ends the process before its tests does not pass. One can find the tests in its own process if it searches for them.
    """
    end = secrets.token_hex(16)
    # not by print: the program may have changed it, or sys.stdout
    ran = await run_python([program, "__name__ = '__main__'", tests, f"__import__('os').write(1, b'{end}') and None"], limits, files, "program")
    if ran.error is not None:
        return ran.error
    return "" if end in ran.printed else "the program ended before its tests"


async def _run(programs: Sequence[str], limits: SandboxLimits, folder: Path, module: str) -> Ran:
    seccomp = base64.b64encode(compiled_filter() or b"").decode()
    given = {name: getattr(limits, name) for name in ("seconds", "memory_mb", "file_mb")}
    options = {**given, "module": module, "folder": str(folder), "seccomp": seccomp, "refusal": "" if limits.unconfined else REFUSAL}
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
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    watching = asyncio.create_task(_watch(process, limits, folder))
    late = False
    printed = complaints = b""
    try:
        reading = _read(process, process.stdout, limits), _read(process, process.stderr, limits)
        done = asyncio.gather(*reading, _feed(process.stdin, programs), process.wait())
        printed, complaints, *_ = await asyncio.wait_for(done, limits.seconds)
    except asyncio.TimeoutError:
        late = True
    finally:
        watching.cancel()
        _kill(process)
        await process.wait()
    fences, _, trace = complaints.decode(errors="replace").partition("\n")
    late = late or process.returncode == -signal.SIGXCPU
    if late:
        error: str | None = f"it took longer than {limits.seconds:g} s"
    elif max(len(printed), len(complaints)) >= limits.printed_bytes:
        error = f"it printed more than {limits.printed_bytes} bytes"
    elif is_full(folder, limits.disk_mb):
        full = f"it wrote more than {limits.disk_mb} MB, or {MAX_FILES} files and folders"
        error = f"{full}, or folders nested deeper than a path can be or without read permission"
    else:
        last_line = "".join(trace.strip().splitlines()[-1:])
        error = last_line or f"it ended with code {process.returncode}" if process.returncode else None
    return Ran(printed=printed.decode(errors="replace"), error=error, fences=tuple(fences.split()), late=late)


async def _watch(process: asyncio.subprocess.Process, limits: SandboxLimits, folder: Path) -> None:
    """Stop a program that fills the disk."""
    while not is_full(folder, limits.disk_mb):
        await asyncio.sleep(_CHECK_INTERVAL_S)
    _kill(process)


async def _feed(stdin: asyncio.StreamWriter, programs: Sequence[str]) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):
        stdin.write(json.dumps(list(programs)).encode())
        await stdin.drain()
    stdin.close()


async def _read(process: asyncio.subprocess.Process, stream: asyncio.StreamReader, limits: SandboxLimits) -> bytes:
    """Return the output of a program; stop a program that writes too much."""
    content = b""
    while chunk := await stream.read(_CHUNK):
        content += chunk
        if len(content) >= limits.printed_bytes:
            _kill(process)
            break
    return content[: limits.printed_bytes]


def _kill(process: asyncio.subprocess.Process) -> None:
    """End the process and all that it started."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def code_in(text: str) -> str:
    """Return the program in a text: the content of its first ``` block, else the whole text."""
    fenced = _FENCED.search(text)
    return fenced[1] if fenced else text


def is_full(folder: Path, max_mb: int) -> bool:
    """Return whether a folder has too many bytes or files, folders nested deeper than a path can be, or folders that cannot be read."""
    used = seen = 0
    pending = [str(folder)]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    seen += 1
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    else:
                        used += entry.stat(follow_symlinks=False).st_size
        except OSError as error:  # other errors: the program removed the folder meanwhile
            if error.errno in (errno.ENAMETOOLONG, errno.EACCES):
                return True
        if used > max_mb << 20 or seen > MAX_FILES:
            return True
    return False


def remove(folder: Path) -> None:
    """Remove a folder and its contents.

    The contents of a subfolder are first moved up, since a program can nest folders deeper than a path or a recursion can go.
    """
    numbers = itertools.count()
    while entries := list(os.scandir(folder)):
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                Path(entry.path).unlink()
                continue
            Path(entry.path).chmod(0o700)
            for inner in os.scandir(entry.path):
                if inner.is_dir(follow_symlinks=False):
                    Path(inner.path).chmod(0o700)  # a read-only folder cannot be moved
                Path(inner.path).rename(_free(folder, numbers))
            Path(entry.path).rmdir()
    folder.rmdir()


def _free(folder: Path, numbers: itertools.count[int]) -> Path:
    """Return an unused path directly in a folder."""
    return next(path for number in numbers if not os.path.lexists(path := folder / f"moved-{number}"))
