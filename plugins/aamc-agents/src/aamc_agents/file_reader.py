"""Agent ``file-reader``: reads a text file below one folder, and nothing outside it."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Collection
from pathlib import Path
from typing import ClassVar

import attrs

from aamc_agents.state import TaskState
from aamc_agents.tool import AgentError, Tool, ToolConfig, subject
from aamc_sdk import Candidate, option

_QUOTED = re.compile(r"""(?<!\w)(?:"([^"\n]+)"|'([^'\n]+)'|`([^`\n]+)`)""")
_PUNCTUATION = ".,;:!?()[]<>\"'`"


@attrs.frozen(kw_only=True)
class FileReaderConfig(ToolConfig):
    """Readable files and billing."""

    folder: str = option("", "Folder below which files may be read; only the task's own files if empty.")
    max_bytes: int = option(100_000, "Maximum size of a file in bytes; larger files are refused.", at_least=1)


class FileReader(Tool):
    """Reads the file named in the last output, else in the task.

    Each part of a path is opened relative to its parent, and no part may be a link. Neither ``..``, nor a link, nor a folder
    replaced by a link during the call leads out of the folder. Devices and pipes are refused.
    """

    Config = FileReaderConfig
    config: FileReaderConfig
    deterministic: ClassVar[bool] = False
    spec = Candidate("file-reader", "Reads a text file that the task names, from the task's files or a folder of documents.")

    async def act(self, state: TaskState) -> str:
        """Return the file's text."""
        folder = Path(self.config.folder).expanduser() if self.config.folder else None
        known = {*state.task.files, *(_files_in(folder) if folder else ())}
        name = file_named(subject(state), known) or file_named(state.task.text, known)
        if name is None:
            raise AgentError(f"no file is named in {subject(state)!r:.80}; put a name with a space in quotes")
        if name in state.task.files:
            text = state.task.files[name]
        elif folder is None:
            raise AgentError(f"the task has no file {name!r}, and no folder is open")
        else:
            text = read_below(folder, name, self.config.max_bytes)
        if not text.strip():
            raise AgentError(f"{name!r} has no text")
        return text


def file_named(text: str, known: Collection[str]) -> str | None:
    """Return the file name in a text: a known name, else the first word with a dot or a slash in it, else None.

    A name with a space is in quotes.

    >>> file_named("Read 'my notes.txt', please, or LICENSE.", {"LICENSE"}), file_named("See docs/a.md.", ())
    ('LICENSE', 'docs/a.md')
    """
    quoted = ["".join(groups) for groups in _QUOTED.findall(text)]
    words = [word.rstrip(_PUNCTUATION).lstrip(_PUNCTUATION.replace(".", "")) for word in text.split()]
    names = [name for name in (*quoted, *words) if name]
    looking = (name for sign in (".", "/") for name in names if sign in name[1:])
    return next((name for name in names if name in known), None) or next(looking, None)


def _files_in(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir() if path.is_file()]
    except OSError as error:
        raise AgentError(f"cannot read folder {str(folder)!r}: {error.strerror}") from error


def read_below(folder: Path, name: str, max_bytes: int) -> str:
    """Return the text of a file below a folder.

    Raises:
        AgentError: The file is missing, too large, not a regular file of UTF-8 text, or its path has links or ``..``.
    """
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise AgentError(f"{name!r} is refused: a path must lead down from the folder, without . and ..")
    try:
        content = _read(folder, parts, max_bytes + 1)
    except OSError as error:
        linked = error.errno in (errno.ELOOP, errno.ENOTDIR)
        raise AgentError(f"cannot read {name!r}: {'a part of its path is a link or not a folder' if linked else error.strerror}") from error
    except ValueError as error:  # a null character, or half of a surrogate pair
        raise AgentError(f"{name!r} cannot be the name of a file") from error
    if len(content) > max_bytes:
        raise AgentError(f"{name!r} has more than {max_bytes} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise AgentError(f"{name!r} is not UTF-8 text") from error


def _read(folder: Path, parts: list[str], max_bytes: int) -> bytes:
    """Open each part relative to its parent, so that no concurrent change can lead elsewhere."""
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            deeper = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=place)
            os.close(place)
            place = deeper
        file = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=place)
    finally:
        os.close(place)
    with os.fdopen(file, "rb") as opened:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        return opened.read(max_bytes)
