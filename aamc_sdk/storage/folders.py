"""Output folders: created, and locked against other processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows, where folders are not locked
    fcntl = None  # type: ignore[assignment]  # see above

from aamc_sdk.errors import OutputError
from aamc_sdk.messages import write_errors


def make_folder(folder: Path) -> None:
    """Create a folder and its parents.

    Raises:
        OutputError: The folder cannot be created.
    """
    with write_errors(folder, "choose another folder with --out"):
        folder.mkdir(parents=True, exist_ok=True)


def path_inside(folder: Path, *names: str) -> Path:
    """Return the path of a file to write in a folder that may come from someone else, such as a run.

    Raises:
        OutputError: A link leads out of the folder, so that a file elsewhere would be replaced.
    """
    path = folder.joinpath(*names)
    target = Path(os.path.realpath(path))
    if not target.is_relative_to(os.path.realpath(folder)):
        raise OutputError(f"cannot write {path}: a link leads to {target}, out of {folder}; remove the link")
    return path


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Create a folder and lock it against other processes inside the block; remove it afterwards if it is empty.

    The operating system releases the lock when the process ends in any way.

    Raises:
        OutputError: Another process has locked the folder, or it cannot be created.
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
            acquired = os.fstat(handle).st_ino == folder.stat().st_ino
        except (BlockingIOError, FileNotFoundError):  # the process with the lock removes an empty folder
            acquired = False
        except OSError as error:
            raise OutputError(f"cannot lock {folder}: {error.strerror or error}; choose another folder with --out") from error
        if not acquired:
            raise OutputError(f"another process is writing {folder}; wait for it, or choose another folder with --out")
        yield
