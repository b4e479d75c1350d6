"""A log in Parquet files, as ``aamc feedback export --format parquet`` writes them: ``parquet:FOLDER`` or ``parquet:FILE``, for reading.

The files of a folder are read together, in the order of the log; an entry in several of them counts once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from aamc_datasets import parquet_files
from aamc_datasets.parquet_export import export_files
from aamc_datasets.parquet_files import read_rows, source_of
from aamc_sdk.errors import StoreError
from aamc_sdk.log import Erasure, ExportFormat, ExportResult, MemoryStore, Row, RowStore, Selection
from aamc_sdk.types import Snapshot


class ParquetStore(MemoryStore, ExportFormat):
    """Reads exported entries into memory, about 3 KB for a decision with its calls and feedback.

    Raises:
        StoreError: There are no such files, or they hold something else.
    """

    def __init__(self, url: str, config: Any) -> None:
        super().__init__(url, config)
        path = Path(url.partition(":")[2])
        files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
        if not url.partition(":")[2] or not files or not all(file.is_file() for file in files):
            raise StoreError(f"there is no export at {url!r}; write one with: aamc feedback export --format parquet FOLDER")
        known = set[tuple[str, str, int]]()
        for row in _in_log_order(path, files):
            if row.key not in known:
                known.add(row.key)
                self._log.add(row)

    @property
    def _open(self) -> NoReturn:
        advice = "name the log itself, or copy the entries to another one by aamc feedback export FILE and aamc feedback import FILE"
        raise StoreError(f"{self.name} is an export of a log and is only read: {advice}")

    def put_snapshot(self, name: str, snapshot: Snapshot) -> None:
        """Keep nothing: an export is only read."""

    @classmethod
    def test_url(cls, name: str, folder: Path) -> NoReturn:
        """Skip the kit's checks, which write to an empty store."""
        from aamc_sdk.testing import skip

        skip("an export is only read")

    @classmethod
    def export(cls, store: RowStore, folder: Path, selection: Selection) -> ExportResult:
        """Write entries of a log to the files of a folder."""
        return export_files(store, folder, selection)

    @classmethod
    def erase(cls, path: Path, erasure: Erasure) -> int:
        """Write a file again with some decisions erased; return their number."""
        return parquet_files.erase(path, erasure)


def _in_log_order(path: Path, files: Sequence[Path]) -> Iterator[Row]:
    """Yield the entries of files in the order of the log.

    Raises:
        StoreError: Two files are of different logs, so that a position has two entries. Files of earlier versions, without a source, may be.
    """
    placed = [(position, row, source) for file in files for source in (source_of(file),) for position, row in read_rows(file)]
    last: tuple[int, Row, str] | None = None
    for each in sorted(placed, key=lambda entry: entry[0]):
        position, row, source = each
        if source:
            if last is not None and last[0] == position and (last[1].key, last[1].time) != (row.key, row.time):
                raise StoreError(f"{path} has exports of several logs ({last[2]}, {source}); export each to a folder of its own")
            last = each
        yield row
