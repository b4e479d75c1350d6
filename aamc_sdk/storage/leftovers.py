"""Temporary files of :func:`replacing` that a killed process left, told from those in use by a lock."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from aamc_sdk.storage.files import replacing

try:
    import fcntl
except ImportError:  # Windows has none: leftovers stay, since they cannot be told from files in use
    fcntl = None  # type: ignore[assignment]  # see above


@contextmanager
def replacing_alone(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces ``path`` as :func:`replacing` does, and remove those that killed processes left for it.

    Raises:
        OutputError: The folder cannot be written, or the disk is full.
    """
    with suppress(OSError):  # another user's, which only that user can remove
        remove_leftovers(path)
    with replacing(path) as file:
        lock = os.dup(file.fileno())  # holds the lock until the file is in its place
        try:
            if fcntl is not None:
                with suppress(OSError):  # a file system without locks
                    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            yield file
        finally:
            os.close(lock)


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files of a target that no process is writing.

    Raises:
        OSError: One of them cannot be removed.
    """
    path = Path(os.path.realpath(path))
    if fcntl is None or not path.parent.is_dir() or (path.exists() and not path.is_file()):
        return
    made_by_mkstemp = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}")
    for file in path.parent.iterdir():
        if made_by_mkstemp.fullmatch(file.name):
            _remove_if_unused(file)


def _remove_if_unused(file: Path) -> None:
    with suppress(FileNotFoundError, BlockingIOError):  # its process has just ended, or is writing it
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.unlink()
        finally:
            os.close(descriptor)
