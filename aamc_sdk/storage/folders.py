"""Folders that are written: made with what they need, locked against other processes, and found as the latest."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows, where two runs in one folder are not kept apart
    fcntl = None  # type: ignore[assignment]  # see above

from aamc_sdk.errors import OutputError


def make_folder(folder: Path) -> None:
    """Make a folder and its parents.

    Raises:
        OutputError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}; choose another folder with --out") from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes that ask from writing a folder inside the block; it is made, and does not stay if it stays empty.

    The lock is the operating system's, so it ends with the process, however that ends.

    Raises:
        OutputError: Another process writes it, or it cannot be made.
    """
    make_folder(folder)
    with _lock(folder):
        try:
            yield
        finally:
            with suppress(OSError):
                folder.rmdir()


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    if fcntl is None:
        yield
        return
    with ExitStack() as opened:
        try:
            handle = os.open(folder, os.O_RDONLY)
            opened.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = os.fstat(handle).st_ino == folder.stat().st_ino
        except (BlockingIOError, FileNotFoundError):  # who had it removes it where it stayed empty
            ours = False
        except OSError as error:
            raise OutputError(f"cannot lock {folder}: {error.strerror or error}; choose another folder with --out") from error
        if not ours:
            raise OutputError(f"another process is writing {folder}; wait for it, or choose another folder with --out")
        yield


def point_latest(folder: Path, runs: Path = Path("runs")) -> None:
    """Make ``runs/latest`` name a run's folder, wherever that is.

    Raises:
        OutputError: The link cannot be made.
    """
    make_folder(runs)
    link, temporary = runs / "latest", runs / f".latest.{os.getpid()}"
    try:
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(os.path.relpath(folder, runs))
        temporary.replace(link)
    except OSError as error:
        raise OutputError(f"cannot make {link} name the newest run: {error.strerror or error}; move it away") from error
