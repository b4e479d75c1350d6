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

from aamc_puppeteer.agents.tool import AgentError, Tool, ToolConfig, subject
from aamc_puppeteer.state import TaskState
from aamc_sdk import Candidate, option

_QUOTED = re.compile(r"""(?<!\w)(?:"([^"\n]+)"|'([^'\n]+)'|`([^`\n]+)`)""")
_PUNCTUATION = ".,;:!?()[]<>\"'`"


@attrs.frozen(kw_only=True)
class FileReaderConfig(ToolConfig):
    """What may be read, and how it is billed."""

    folder: str = option("", "Folder below which files may be read; empty for the task's own files alone.")
    max_bytes: int = option(100_000, "Most bytes of a file; larger ones are refused.", at_least=1)


class FileReader(Tool):
    """Reads the file whose name was said last, else the one that the task names.

    A path is followed step by step, and no step may be a link: neither ``..``, a link, nor a folder that is swapped for a link
    meanwhile leads out of the folder. Devices and pipes are refused.
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
            return state.task.files[name]
        if folder is None:
            raise AgentError(f"the task has no file {name!r}, and no folder is open")
        return read_below(folder, name, self.config.max_bytes)


def file_named(text: str, known: Collection[str]) -> str | None:
    """Return the file that a text names: a known one, else the first that looks like one, with a dot or a slash in it; None without.

    A name is a word, or stands in quotes.

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
        AgentError: It is not there, not a plain file of UTF-8 text, too large, or not reached without links and ``..``.
    """
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise AgentError(f"{name!r} is refused: a path must go straight down from the folder")
    try:
        content = _read(folder, parts, max_bytes + 1)
    except OSError as error:
        linked = error.errno in (errno.ELOOP, errno.ENOTDIR)
        raise AgentError(f"cannot read {name!r}: {'a step of it is a link or no folder' if linked else error.strerror}") from error
    if len(content) > max_bytes:
        raise AgentError(f"{name!r} has more than {max_bytes} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise AgentError(f"{name!r} is no text in UTF-8") from error


def _read(folder: Path, parts: list[str], most: int) -> bytes:
    """Open each step relative to the one before, so that nothing that changes meanwhile can lead elsewhere."""
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
            raise OSError(errno.EINVAL, "it is no plain file")
        return opened.read(most)
