"""Formats of exported logs: a store class that also writes the files that it reads."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from aamc_sdk.log.erasure import Erasure
from aamc_sdk.log.rows.row import Row


@attrs.frozen
class Export:
    """A file that entries of a log were exported to.

    Attributes:
        path: The file.
        format: Its format: the name of a store that reads it.
    """

    path: str
    format: str


class ExportWriter(abc.ABC):
    """Writes one file; a context, after which the file is complete, or not there if the block failed."""

    @abc.abstractmethod
    def __enter__(self) -> ExportWriter: ...

    @abc.abstractmethod
    def __exit__(self, *error: Any) -> None: ...

    @abc.abstractmethod
    def add(self, position: int, row: Row) -> None:
        """Add an entry; positions ascend."""


class ExportFormat(abc.ABC):
    """The part of a store class that writes files which the store then reads."""

    suffix: str

    @classmethod
    @abc.abstractmethod
    def writer(cls, path: Path, source: str) -> ExportWriter:
        """Return a writer of a file, which keeps the name of the log that the entries are from."""

    @classmethod
    @abc.abstractmethod
    def source(cls, path: Path) -> str:
        """Return the name of the log that a file's entries are from; ``""`` if the file has none.

        Raises:
            DataError: There is no such file, or it is not of this format.
        """

    @classmethod
    @abc.abstractmethod
    def decisions(cls, path: Path) -> Iterator[tuple[int, Row]]:
        """Yield the decisions of a file with their positions, which ascend: id, time and tenant, without the content.

        Raises:
            DataError: There is no such file, or it is not of this format.
        """

    @classmethod
    @abc.abstractmethod
    def erase(cls, path: Path, erasure: Erasure) -> int:
        """Rewrite a file without the erased decisions, and remove what killed processes left of it; return their number.

        Raises:
            DataError: There is no such file, or it is not of this format.
        """
