"""Labelled texts as CSV with the columns ``text,complexity,category,tool_use``."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from aamc_datasets.recognition import hint
from aamc_sdk.errors import DataError, nearest, read_errors
from aamc_sdk.storage import write_text
from aamc_sdk.types import Dataset, Labels, Query

COLUMNS = ("text", "complexity", "category", "tool_use")


def write_labelled(path: Path, dataset: Dataset) -> None:
    """Write a dataset with all three labels, whole or not at all.

    Raises:
        DataError: A label is missing.
        OutputError: The folder cannot be written.
    """
    labels = dataset.labels
    if labels.complexity is None or labels.category is None or labels.tool_use is None:
        raise DataError("only a dataset with complexity, category and tool_use can be written as labelled CSV")
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    texts = (query.text for query in dataset.queries)
    writer.writerows(zip(texts, labels.complexity.tolist(), labels.category.tolist(), labels.tool_use.astype(int).tolist(), strict=True))
    write_text(path, file.getvalue())


def read_labelled(path: Path) -> Dataset:
    """Read a file in the format of :func:`write_labelled`.

    Raises:
        DataError: The file is missing, has other columns, or contains an invalid row; the message gives the line.
    """
    with read_errors(path, "give a CSV file in UTF-8"), path.open(encoding="utf-8-sig", newline="") as file:
        rows = _rows(path, file)
    if not rows:
        raise DataError(f"{path} has a header but no row; give at least one text")
    texts, complexity, category, tool_use = zip(*rows, strict=True)
    labels = Labels(np.array(complexity), np.array(category), np.array(tool_use))
    return Dataset([Query(text) for text in texts], labels=labels, source=str(path))


def _rows(path: Path, file: io.TextIOBase) -> list[tuple[str, float, str, float]]:
    reader = csv.DictReader(file, strict=True)
    try:
        header = reader.fieldnames or []
        for column in COLUMNS:
            if column not in header:
                advice = f"; its header must be {','.join(COLUMNS)}{hint(path, 'synthetic')}"
                raise DataError(f"{path} has no column {column!r}{nearest(column, header)}{advice}")
        return [_row(row, f"{path}, line {reader.line_num}") for row in reader]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.reader.line_num}, is not valid CSV: {error}") from error


def _row(row: dict[str | None, str | None], where: str) -> tuple[str, float, str, float]:
    text, complexity, category, tool_use = (row[column] for column in COLUMNS)
    if None in row or tool_use is None:
        raise DataError(f"{where} does not have as many fields as the header; quote texts that hold commas")
    if not text or not text.strip():
        raise DataError(f"{where} has an empty text")
    if not category:
        raise DataError(f"{where} has an empty category")
    if tool_use not in ("0", "1"):
        raise DataError(f"{where}: tool_use must be 0 or 1, not {tool_use!r}")
    return text, _unit(complexity, where), category, float(tool_use)


def _unit(value: str | None, where: str) -> float:
    try:
        number = float(value or "")
    except ValueError:
        number = np.nan
    if not 0 <= number <= 1:
        raise DataError(f"{where}: complexity must be a number from 0 to 1, not {value!r}")
    return number
