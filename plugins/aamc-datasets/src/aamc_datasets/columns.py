"""CSV and Parquet files: columns, of which only the requested ones are read, and whole rows.

A column consists of its distinct values and one code per row, so that a repeated text is stored once and checked once.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_datasets.json_rows import MAX_USD, bounded_number, score
from aamc_sdk.errors import DataError
from aamc_sdk.messages import nearest, one_of, read_errors
from aamc_sdk.types import CHARACTERS_PER_TOKEN, Floats

SUFFIXES = (".csv", ".parquet")
MAX_ROW_BYTES = 1 << 24
"""Maximum size of a CSV row: pyarrow reads in blocks of this size, and a row must fit into one."""
TRUTH_VALUES = {"true": 1.0, "false": 0.0}


@attrs.frozen(eq=False)
class TableColumn:
    """A column of R rows.

    Attributes:
        label: The file and the column, for error messages.
        values: The distinct values; some may occur in no row.
        codes: The index in ``values`` of each row's value, ``[R]``.
    """

    label: str
    values: list[Any]
    codes: NDArray[np.intp]

    def texts(self) -> list[str]:
        """Return each row's text.

        Raises:
            DataError: A value is empty or not a text.
        """
        for code in np.unique(self.codes):
            value = self.values[code]
            if not isinstance(value, str) or not value.strip():
                raise DataError(f"{self._row(code)} must be a text that is not empty, not {value!r:.80}")
        return [self.values[code] for code in self.codes]

    def names(self) -> list[str]:
        """Return each row's name; numbers are converted to text.

        Raises:
            DataError: A value is empty.
        """
        for code in np.unique(self.codes):
            if self.values[code] in (None, ""):
                raise DataError(f"{self._row(code)} must be a name or a number, not {self.values[code]!r}")
        return self.labels()

    def labels(self) -> list[str]:
        """Return each row's label, ``""`` if it has none."""
        labels = ["" if value is None else str(value) for value in self.values]
        return [labels[code] for code in self.codes]

    def scores(self, strict: bool = True) -> Floats:
        """Return numbers from 0 to 1 ``[R]``, unless ``strict`` also between -1 and 2; True is 1, False is 0, an empty value is NaN.

        Raises:
            DataError: A value is something else.
        """
        return self._numbers(lambda value: score(TRUTH_VALUES.get(str(value).lower(), value), "it", strict))

    def amounts(self) -> Floats:
        """Return costs in USD ``[R]``; an empty value is NaN.

        Raises:
            DataError: A value is something else.
        """
        return self._numbers(lambda value: bounded_number(value, "it", MAX_USD))

    def text_tokens(self) -> Floats:
        """Return the tokens of each row's text ``[R]``, estimated from its characters; an empty value is NaN."""
        tokens = [math.nan if value in (None, "") else math.ceil(len(str(value)) / CHARACTERS_PER_TOKEN) for value in self.values]
        return np.asarray(np.array(tokens, dtype=np.float64)[self.codes])

    def _numbers(self, check: Callable[[Any], float]) -> Floats:
        numbers = np.empty(len(self.values))
        for code in np.unique(self.codes):
            try:
                numbers[code] = check(_number(self.values[code]))
            except DataError as error:
                raise DataError(f"{self._row(code)}: {error}") from error
        return numbers[self.codes]

    def _row(self, code: np.intp) -> str:
        return f"{self.label}, row {np.flatnonzero(self.codes == code)[0] + 1}"


def _number(value: Any) -> Any:
    """Return the number in a CSV field or Parquet cell, None if it is empty, or the value if it is neither."""
    if isinstance(value, str):
        try:
            value = float(value) if value.strip() else None
        except ValueError:
            return value
    return None if isinstance(value, float) and math.isnan(value) else value


def column_names(file: Path) -> list[str]:
    """Return the names of a file's columns; reads only the header.

    Raises:
        DataError: The file cannot be read, is empty, or has two columns of the same name.
    """
    names = _parquet_names(file) if file.suffix == ".parquet" else _csv_names(file)
    if not names:
        raise DataError(f"{file} is empty; give a header and at least one row")
    if repeated := {name for name in names if names.count(name) > 1}:
        raise DataError(f"{file} has more than one column {one_of(repeated)}; give each a unique name")
    return names


@contextmanager
def arrow_errors(file: Path, form: str = "Parquet", advice: str = "give a Parquet file") -> Iterator[None]:
    """Turn pyarrow's errors of reading a file into one with the file, the form that it should have, and the advice."""
    import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"cannot read {file} as {form}: {' '.join(str(error).split()):.200}; {advice}") from error


def _csv_names(file: Path) -> list[str]:
    with read_errors(file, "give a CSV file in UTF-8", csv.Error), file.open(encoding="utf-8-sig", newline="") as rows:
        return next(filter(None, csv.reader(rows)), [])  # pyarrow skips empty lines before the header too


def _parquet_names(file: Path) -> list[str]:
    import pyarrow.parquet as pq  # type: ignore[import-untyped]  # it ships no types

    with arrow_errors(file):
        return list(pq.read_schema(file).names)


def parquet_rows(file: Path, columns: Collection[str] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a Parquet file, lazily; columns other than the given ones are None in each row and are not read.

    Raises:
        DataError: The file cannot be read.
    """
    import pyarrow.parquet as pq

    with arrow_errors(file), pq.ParquetFile(file) as content:
        names = content.schema_arrow.names
        read = [name for name in names if columns is None or name in columns] or names
        for batch in content.iter_batches(1024, columns=read):
            yield from (dict.fromkeys(names) | row for row in batch.to_pylist())


def require_columns(file: Path, wanted: Iterable[str], found: Collection[str], advice: str = "") -> None:
    """Check that a file has the wanted columns.

    Raises:
        DataError: A column is missing; the message gives the columns found and the advice.
    """
    for name in wanted:
        if name not in found:
            raise DataError(f"{file} has no column {name!r}{nearest(name, found)} (it has: {one_of(found)}){advice}")


def read_columns(file: Path, names: Iterable[str]) -> dict[str, TableColumn]:
    """Read columns of a file; they must exist.

    Raises:
        DataError: The file cannot be read or has no row.
    """
    import pyarrow as pa

    wanted, parquet = list(names), file.suffix == ".parquet"
    with arrow_errors(file) if parquet else arrow_errors(file, "CSV", "give a CSV file in UTF-8 with as many fields in each row as in the header"):
        table = _read_parquet(file, wanted) if parquet else _read_csv(file, wanted)
    if not len(table):
        raise DataError(f"{file} has a header but no row; give at least one")
    try:
        return {name: _column(f"{file}, column {name!r}", table.column(name)) for name in wanted}
    except pa.ArrowException as error:
        kinds = ", ".join(f"{name}: {table.column(name).type}" for name in wanted)
        raise DataError(f"{file} has a column that holds neither text nor numbers ({kinds})") from error


def answer_tokens(columns: Mapping[str, TableColumn], names: Sequence[str], rows: int) -> Floats | None:
    """Return the tokens of the answers in M columns, ``[rows, M]``, NaN for a column that is missing; None if all are missing."""
    if not any(name in columns for name in names):
        return None
    return np.stack([columns[name].text_tokens() if name in columns else np.full(rows, np.nan) for name in names], axis=1)


def _read_parquet(file: Path, names: list[str]) -> Any:
    import pyarrow.parquet as pq

    return pq.read_table(file, columns=names)


def _read_csv(file: Path, names: list[str]) -> Any:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    distinct = pa.dictionary(pa.int32(), pa.string())
    return arrow_csv.read_csv(
        file,
        read_options=arrow_csv.ReadOptions(block_size=MAX_ROW_BYTES),
        parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(include_columns=names, column_types=dict.fromkeys(names, distinct)),
    )


def _column(label: str, chunks: Any) -> TableColumn:
    import pyarrow as pa

    encoded = chunks if pa.types.is_dictionary(chunks.type) else chunks.dictionary_encode()
    column = encoded.unify_dictionaries().combine_chunks()
    values = column.dictionary.to_pylist()
    codes = column.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
    return TableColumn(label, [*values, None] if column.null_count else values, codes.astype(np.intp))
