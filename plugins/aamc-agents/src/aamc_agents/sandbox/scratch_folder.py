"""The folder that a sandboxed program works in: how full it is, and how it is removed whatever the program made of it."""

from __future__ import annotations

import errno
import itertools
import os
from pathlib import Path

MOST_FILES = 5_000
"""Files and folders that a program may make."""


def fills(folder: Path, most_mb: int) -> bool:
    """Return whether a folder holds too much: too many bytes or files, or folders nested deeper than paths are long."""
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
        except OSError as error:  # else the program removed it meanwhile, or closed it, to itself as well
            if error.errno == errno.ENAMETOOLONG:
                return True
        if used > most_mb << 20 or seen > MOST_FILES:
            return True
    return False


def remove(folder: Path) -> None:
    """Remove a folder with all that it holds.

    What lies in a subfolder is first moved up, for a program can nest folders deeper than paths are long, and than a recursion may go.
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
                    Path(inner.path).chmod(0o700)  # a folder that may not be written cannot be moved
                Path(inner.path).rename(_free(folder, numbers))
            Path(entry.path).rmdir()
    folder.rmdir()


def _free(folder: Path, numbers: itertools.count[int]) -> Path:
    """Return a path right in a folder that nothing has."""
    return next(path for number in numbers if not os.path.lexists(path := folder / f"moved-{number}"))
