"""Columns of CSV and Parquet files: only those that are asked for are read.

A column is its distinct values and each row's place among them, so that a text which stands in a
hundred rows is kept once, and each value is checked once.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_datasets.json_rows import MOST_USD, figure
from aamc_sdk.errors import DataError, nearest, one_of
from aamc_sdk.types import Floats

SUFFIXES = (".csv", ".parquet")
LONGEST_ROW = 1 << 24
"""Most bytes of a CSV row: pyarrow reads in blocks of this size, and a row must fit into one."""
TRUTH = {"true": 1.0, "false": 0.0}


@attrs.frozen(eq=False)
class Column:
    """A column of R rows.

    Attributes:
        place: The file and the column, as messages name them.
        values: The distinct values, perhaps some that no row has.
        codes: Each row's value, as its place in ``values``, ``[R]``.
    """

    place: str
    values: list[Any]
    codes: NDArray[np.intp]

    def texts(self) -> list[str]:
        """Return each row's text.

        Raises:
            DataError: One is empty, or no text.
        """
        for code in np.unique(self.codes):
            value = self.values[code]
            if not isinstance(value, str) or not value.strip():
                raise DataError(f"{self._row(code)} must be a text that is not empty, not {value!r:.80}")
        return [self.values[code] for code in self.codes]

    def names(self) -> list[str]:
        """Return each row's name; a number is written out.

        Raises:
            DataError: One is empty.
        """
        for code in np.unique(self.codes):
            if self.values[code] in (None, ""):
                raise DataError(f"{self._row(code)} must be a name or a number, not {self.values[code]!r}")
        return self.labels()

    def labels(self) -> list[str]:
        """Return each row's label, ``""`` where there is none."""
        labels = ["" if value is None else str(value) for value in self.values]
        return [labels[code] for code in self.codes]

    def scores(self) -> Floats:
        """Return numbers from 0 to 1 ``[R]``, of True and False 1 and 0, NaN where there is nothing.

        Raises:
            DataError: A value is something else.
        """
        return self._numbers(lambda value: figure(TRUTH.get(str(value).lower(), value), "it", most=1.0))

    def amounts(self) -> Floats:
        """Return costs in USD ``[R]``, NaN where there is nothing.

        Raises:
            DataError: A value is something else.
        """
        return self._numbers(lambda value: figure(value, "it", MOST_USD))

    def _numbers(self, check: Callable[[Any], float]) -> Floats:
        numbers = np.empty(len(self.values))
        for code in np.unique(self.codes):
            try:
                numbers[code] = check(_number(self.values[code]))
            except DataError as error:
                raise DataError(f"{self._row(code)}: {error}") from error
        return numbers[self.codes]

    def _row(self, code: np.intp) -> str:
        return f"{self.place}, row {np.flatnonzero(self.codes == code)[0] + 1}"


def _number(value: Any) -> Any:
    """Return what a CSV field or a Parquet cell says: a number, None, or a value that is neither."""
    if isinstance(value, str):
        try:
            value = float(value) if value.strip() else None
        except ValueError:
            return value
    return None if isinstance(value, float) and math.isnan(value) else value


def column_names(file: Path) -> list[str]:
    """Return the names of a file's columns, without reading more of it than they take.

    Raises:
        DataError: The file cannot be read, is empty, or has two columns of one name.
    """
    names = _parquet_names(file) if file.suffix == ".parquet" else _csv_names(file)
    if not names:
        raise DataError(f"{file} is empty; give a header and at least one row")
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise DataError(f"{file} has more than one column {one_of(twice)}; give each a name of its own")
    return names


def _csv_names(file: Path) -> list[str]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as rows:
            return next(csv.reader(rows), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {file}: {getattr(error, 'strerror', None) or error}; give a CSV file in UTF-8") from error


def _parquet_names(file: Path) -> list[str]:
    import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
    import pyarrow.parquet as pq  # type: ignore[import-untyped]  # likewise

    try:
        return list(pq.read_schema(file).names)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"cannot read {file} as Parquet: {' '.join(str(error).split()):.200}") from error


def require_columns(file: Path, wanted: Iterable[str], found: Collection[str], advice: str = "") -> None:
    """Raise where a column is missing; the message gives those that were found, and the advice.

    Raises:
        DataError: As said.
    """
    for name in wanted:
        if name not in found:
            raise DataError(f"{file} has no column {name!r}{nearest(name, found)} (it has: {one_of(found)}){advice}")


def read_columns(file: Path, names: Iterable[str]) -> dict[str, Column]:
    """Read some columns of a file that has them.

    Raises:
        DataError: The file cannot be read, or has no row.
    """
    import pyarrow as pa

    wanted = list(names)
    try:
        table = _read_parquet(file, wanted) if file.suffix == ".parquet" else _read_csv(file, wanted)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"cannot read {file}: {' '.join(str(error).split()):.200}") from error
    if not len(table):
        raise DataError(f"{file} has a header but no row; give at least one")
    try:
        return {name: _column(f"{file}, column {name!r}", table.column(name)) for name in wanted}
    except pa.ArrowException as error:
        kinds = ", ".join(f"{name}: {table.column(name).type}" for name in wanted)
        raise DataError(f"{file} has a column that holds neither text nor numbers ({kinds})") from error


def _read_parquet(file: Path, names: list[str]) -> Any:
    import pyarrow.parquet as pq

    return pq.read_table(file, columns=names)


def _read_csv(file: Path, names: list[str]) -> Any:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    distinct = pa.dictionary(pa.int32(), pa.string())
    return arrow_csv.read_csv(
        file,
        read_options=arrow_csv.ReadOptions(block_size=LONGEST_ROW),
        parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(include_columns=names, column_types=dict.fromkeys(names, distinct)),
    )


def _column(place: str, chunks: Any) -> Column:
    import pyarrow as pa

    encoded = chunks if pa.types.is_dictionary(chunks.type) else chunks.dictionary_encode()
    column = encoded.unify_dictionaries().combine_chunks()
    values = column.dictionary.to_pylist()
    codes = column.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
    return Column(place, [*values, None] if column.null_count else values, codes.astype(np.intp))
