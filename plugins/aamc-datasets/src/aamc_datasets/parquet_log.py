"""A log in Parquet files, as ``aamc feedback export --format parquet`` writes them: ``parquet:FOLDER`` or ``parquet:FILE``, for reading.

A file holds decisions with all their attempts and feedback, one row an entry: the columns of a log in SQLite, and the content as JSON. The files
of a folder are read together, in the order of the log; an entry in several of them counts once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # likewise

from aamc_sdk.errors import DataError, StoreError
from aamc_sdk.log import COLUMNS, DECISION, Erasure, ExportFormat, ExportWriter, MemoryStore, Row, columns_of
from aamc_sdk.storage import remove_leftovers, replacing_alone
from aamc_sdk.types import Snapshot

_TYPES = {"TEXT": pa.string(), "DOUBLE PRECISION": pa.float64(), "BIGINT": pa.int64()}
_OWN = {
    "position": pa.int64(),
    "kind": pa.string(),
    "id": pa.string(),
    "decision_id": pa.string(),
    "candidate": pa.string(),
    "content": pa.string(),
    "time": pa.float64(),
    "embedding": pa.binary(),
    "revision": pa.int64(),
    "fingerprint": pa.string(),
}
SCHEMA = pa.schema([*_OWN.items(), *((name, _TYPES[kind]) for name, kind in COLUMNS.items())], metadata={"aamc_log": "1"})
"""The columns of a file."""
_SOURCE = b"aamc_source"
"""The key of the name of the log that a file's entries are from; files of earlier versions have none."""
_BRIEF = ["position", "kind", "id", "time", "tenant"]
"""The columns that are read of decisions without their content."""
ROWS_AT_ONCE = 10_000
"""Entries of a row group."""
_ROW = list(_OWN)[1:]
"""The fields of a row, in the order of :class:`aamc_sdk.log.Row`."""


class ParquetWriter(ExportWriter):
    """Writes entries to a file, which is complete when the context ends, or not there."""

    def __init__(self, path: Path, source: str) -> None:
        self._context = self._written(path, source)
        self._waiting: list[dict[str, Any]] = []

    def __enter__(self) -> ParquetWriter:
        return self._context.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._context.__exit__(*error)

    @contextmanager
    def _written(self, path: Path, source: str) -> Iterator[ParquetWriter]:
        schema = SCHEMA.with_metadata({**SCHEMA.metadata, _SOURCE: source})
        with replacing_alone(path) as file:
            self._writer = pq.ParquetWriter(file, schema, compression="zstd")
            try:
                yield self
                self._flush()
                self._writer.close()
            except BaseException:
                self._writer.is_open = False  # else it writes to the file when it is collected
                raise

    def add(self, position: int, row: Row) -> None:
        """Add an entry."""
        self._waiting.append({"position": position, **{name: getattr(row, name) for name in _ROW}, **columns_of(row)})
        if len(self._waiting) == ROWS_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._writer.write_table(pa.Table.from_pylist(waiting, SCHEMA))


class ParquetStore(MemoryStore, ExportFormat):
    """Reads exported entries into memory, about 3 KB for a decision with its calls and feedback.

    Raises:
        StoreError: There are no such files, or they hold something else.
    """

    suffix = "parquet"

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
                self._ledger.place(row)

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
    def writer(cls, path: Path, source: str) -> ParquetWriter:
        """Return a writer of a file."""
        return ParquetWriter(path, source)

    @classmethod
    def source(cls, path: Path) -> str:
        """Return the name of the log that a file's entries are from; ``""`` if the file has none."""
        with _opened(path) as file:
            return str((file.schema_arrow.metadata or {}).get(_SOURCE, b"").decode())

    @classmethod
    def decisions(cls, path: Path) -> Iterator[tuple[int, Row]]:
        """Yield the decisions of a file with their positions, without the content."""
        with _opened(path) as file:
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=_BRIEF):
                for each in batch.to_pylist():
                    if each["kind"] == DECISION:
                        name, columns = each["id"], {"tenant": each["tenant"]}
                        yield each["position"], Row(DECISION, name, name, "", "", each["time"], columns=columns)

    @classmethod
    def erase(cls, path: Path, erasure: Erasure) -> int:
        """Write a file again with some decisions erased; return their number."""
        remove_leftovers(path)
        if not any(row.kind == DECISION and erasure.covers(row) for _, row in read_rows(path)):
            return 0
        erased = 0
        with cls.writer(path, cls.source(path)) as out:
            for position, row in read_rows(path):
                is_one = row.kind == DECISION and erasure.covers(row)
                erased += is_one
                out.add(position, erasure.applied(row) if is_one else row)
        return erased


def read_rows(file: Path) -> Iterator[tuple[int, Row]]:
    """Yield the entries of a file with their positions.

    Raises:
        DataError: There is no such file, or it holds something else.
    """
    with _opened(file) as source:
        for batch in source.iter_batches(ROWS_AT_ONCE, columns=SCHEMA.names):
            yield from _rows(batch.to_pydict())


def _in_log_order(path: Path, files: Sequence[Path]) -> Iterator[Row]:
    """Yield the entries of files in the order of the log.

    Raises:
        StoreError: Two files are of different logs, so that a position has two entries. Files of earlier versions, without a source, may be.
    """
    placed = [(position, row, source) for file in files for source in (ParquetStore.source(file),) for position, row in read_rows(file)]
    last: tuple[int, Row, str] | None = None
    for each in sorted(placed, key=lambda entry: entry[0]):
        position, row, source = each
        if source:
            if last is not None and last[0] == position and (last[1].key, last[1].time) != (row.key, row.time):
                raise StoreError(f"{path} has exports of several logs ({last[2]}, {source}); export each to a folder of its own")
            last = each
        yield row


@contextmanager
def _opened(file: Path) -> Iterator[pq.ParquetFile]:
    """Open a file with entries of a log."""
    try:
        with pq.ParquetFile(file) as source:
            if not set(SCHEMA.names) <= set(source.schema_arrow.names):
                raise DataError(f"{file} holds no entries of a log; write some with: aamc feedback export --format parquet FOLDER")
            yield source
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"cannot read {file} as an export of a log: {error}") from error


def _rows(columns: dict[str, Sequence[Any]]) -> Iterator[tuple[int, Row]]:
    names = list(COLUMNS)
    kept = zip(*(columns[name] for name in names), strict=True)
    own = zip(*(columns[name] for name in _ROW), strict=True)
    for position, fields, values in zip(columns["position"], own, kept, strict=True):
        given = dict(zip(_ROW, fields, strict=True))
        yield position, Row(**given, columns=dict(zip(names, values, strict=True)))
