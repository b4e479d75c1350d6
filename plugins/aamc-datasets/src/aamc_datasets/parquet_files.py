"""Parquet files with entries of a log: decisions with all their attempts and feedback.

A file has one row an entry: the columns of a log in SQLite, and the content as JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # likewise

from aamc_sdk.errors import DataError
from aamc_sdk.log import ATTEMPT, COLUMNS, DECISION, FEEDBACK, Erasure, Row, columns_of
from aamc_sdk.storage import remove_leftovers, replacing_alone

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
_EXPORT_AGAIN = "delete it, and export the log again"
_REQUIRED = [name for name in _OWN if name != "embedding"]
"""The columns that have a value in each row."""
_BRIEF = ["position", "kind", "id", "time", "tenant"]
"""The columns that are read of decisions without their content."""
ROWS_AT_ONCE = 10_000
"""Entries of a row group."""
_ROW = list(_OWN)[1:]
"""The fields of a row, in the order of :class:`aamc_sdk.log.Row`."""


class ParquetWriter:
    """Writes entries, see :func:`writing`.

    Attributes:
        first: The position of the first entry; None before there is one.
    """

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self.first: int | None = None
        self._writer = writer
        self._waiting: list[dict[str, Any]] = []

    def add(self, position: int, row: Row) -> None:
        """Add an entry."""
        self.first = position if self.first is None else self.first
        self._waiting.append({"position": position, **{name: getattr(row, name) for name in _ROW}, **columns_of(row)})
        if len(self._waiting) == ROWS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write the entries that were added as a row group."""
        waiting, self._waiting = self._waiting, []
        self._writer.write_table(pa.Table.from_pylist(waiting, SCHEMA))


@contextmanager
def writing(path: Path, source: str) -> Iterator[ParquetWriter]:
    """Write a file with the entries of the log of that name; it is complete when the context ends, or not there."""
    schema = SCHEMA.with_metadata({**SCHEMA.metadata, _SOURCE: source})
    with replacing_alone(path) as file:
        parquet = pq.ParquetWriter(file, schema, compression="zstd")
        try:
            writer = ParquetWriter(parquet)
            yield writer
            writer.flush()
            parquet.close()
        except BaseException:
            parquet.is_open = False  # else it writes to the file when it is collected
            raise


def source_of(path: Path) -> str:
    """Return the name of the log that a file's entries are from; ``""`` if the file has none.

    Raises:
        DataError: There is no such file, or it holds something else.
    """
    with _opened(path) as file:
        return str((file.schema_arrow.metadata or {}).get(_SOURCE, b"").decode())


def read_decisions(path: Path) -> Iterator[tuple[int, Row]]:
    """Yield the decisions of a file with their positions, which ascend: id, time and tenant, without the content.

    Raises:
        DataError: There is no such file, or it holds something else.
    """
    with _opened(path) as file:
        for batch in _batches(path, file, _BRIEF):
            for each in batch.to_pylist():
                if each["kind"] == DECISION:
                    name, columns = each["id"], {"tenant": each["tenant"]}
                    yield each["position"], Row(DECISION, name, name, "", "", each["time"], columns=columns)


def erase(path: Path, erasure: Erasure) -> int:
    """Write a file again with some decisions erased; return their number.

    Raises:
        DataError: There is no such file, or it holds something else.
    """
    remove_leftovers(path)
    if not any(row.kind == DECISION and erasure.covers(row) for _, row in read_rows(path)):
        return 0
    erased = 0
    with writing(path, source_of(path)) as out:
        for position, row in read_rows(path):
            is_one = row.kind == DECISION and erasure.covers(row)
            erased += is_one
            out.add(position, erasure.applied(row) if is_one else row)
    return erased


def read_rows(file: Path) -> Iterator[tuple[int, Row]]:
    """Yield the entries of a file with their positions.

    Raises:
        DataError: There is no such file, it is damaged, or it holds something else.
    """
    decided = set[str]()
    with _opened(file) as source:
        for batch in _batches(file, source, SCHEMA.names):
            for position, row in _rows(batch.to_pydict()):
                if row.kind == DECISION:
                    decided.add(row.id)
                elif row.kind not in (ATTEMPT, FEEDBACK) or row.decision_id not in decided:
                    raise DataError(f"{file} is damaged: its entry {row.name!r} is on no decision of the file; {_EXPORT_AGAIN}")
                yield position, row


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


def _batches(path: Path, file: pq.ParquetFile, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yield some columns of a file, in their own types: other programs write texts, for example, in other ones."""
    schema = pa.schema([SCHEMA.field(name) for name in columns])
    for batch in file.iter_batches(ROWS_AT_ONCE, columns=columns):
        table = pa.Table.from_batches([batch]).select(columns).cast(schema)
        if lacking := [name for name in columns if name in _REQUIRED and table[name].null_count]:
            raise DataError(f"{path} is damaged: its column {lacking[0]} lacks values; {_EXPORT_AGAIN}")
        yield table


def _rows(columns: dict[str, Sequence[Any]]) -> Iterator[tuple[int, Row]]:
    names = list(COLUMNS)
    kept = zip(*(columns[name] for name in names), strict=True)
    own = zip(*(columns[name] for name in _ROW), strict=True)
    for position, fields, values in zip(columns["position"], own, kept, strict=True):
        given = dict(zip(_ROW, fields, strict=True))
        yield position, Row(**given, columns=dict(zip(names, values, strict=True)))
