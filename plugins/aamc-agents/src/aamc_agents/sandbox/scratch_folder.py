"""The working folder of a sandboxed program: its size and its removal."""

from __future__ import annotations

import errno
import itertools
import os
from pathlib import Path

MAX_FILES = 5_000
"""Maximum number of files and folders."""


def is_full(folder: Path, max_mb: int) -> bool:
    """Return whether a folder has too many bytes or files, or folders nested deeper than a path can be."""
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
        except OSError as error:  # other errors: the program removed the folder meanwhile, or made it unreadable
            if error.errno == errno.ENAMETOOLONG:
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
