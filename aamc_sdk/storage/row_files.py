"""Files of rows in UTF-8: text, JSON lines and CSV. Each is read lazily, and every error names its line."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from aamc_sdk.errors import DataError
from aamc_sdk.messages import read_errors

_GZIP = b"\x1f\x8b"
"""The first bytes of a file that gzip compressed."""


def text_lines(file: Path, advice: str = "give a text file in UTF-8") -> Iterator[tuple[int, str]]:
    """Yield the lines of a text with their numbers, lazily and with their line ends: a newline, a carriage return, or both.

    Raises:
        DataError: The file cannot be read, or a line is not UTF-8; the message gives the line and ends with the advice.
    """
    with read_errors(file, advice), file.open("rb") as content:
        lines = itertools.chain.from_iterable(line.splitlines(keepends=True) for line in content)
        for number, line in enumerate(lines, start=1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                if number == 1 and line.startswith(_GZIP):
                    raise DataError(f"{file} is compressed; decompress it first: gunzip --keep {file}") from error
                raise DataError(f"{file}, line {number} is not UTF-8 ({error.reason} at byte {error.start + 1}); {advice}") from error
            yield number, text


def json_lines(file: Path) -> Iterator[tuple[int, Any]]:
    """Yield JSON lines with their line numbers, lazily; empty lines are skipped.

    Raises:
        DataError: The file cannot be read, or a line is not JSON in UTF-8; the message gives the line.
    """
    for number, line in text_lines(file, "give JSON lines in UTF-8"):
        if line.strip():
            yield number, parse_json(line, f"{file}, line {number}")


def parse_json(text: str, where: str) -> Any:
    """Parse a JSON document.

    Raises:
        DataError: It is not JSON, or an object contains a key twice.
    """
    try:
        return _DECODER.decode(text)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not valid JSON ({error}); the file may be cut off there") from error


def unique_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return the keys and values of a JSON object as a dict; for ``object_pairs_hook`` of the module json.

    Raises:
        DataError: A key occurs twice, so that its value is ambiguous.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise DataError(f"key {next(key for key in keys if keys.count(key) > 1)!r} occurs twice in one object; give it once")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=unique_keys)


def csv_rows(file: Path, *, delimiter: str = ",", max_field: int | None = None) -> Iterator[tuple[int, dict[str, str | None]]]:
    """Yield the rows of a CSV file by the columns of its header, each with the number of its last line, lazily.

    Empty lines are skipped. A field that a row lacks is None.

    Args:
        file: The file.
        delimiter: The character between two fields.
        max_field: Maximum characters of a field; that of the module csv, by default 131,072, when None.

    Raises:
        DataError: The file cannot be read, two columns have one name, or a row has wrong quotes, a field that is too long, or more fields than the
            header; the message gives the line.
    """
    reader = csv.DictReader((line for _, line in text_lines(file, "give a CSV file in UTF-8")), delimiter=delimiter, strict=True)
    while True:
        try:
            row = _next_row(reader, max_field)
        except csv.Error as error:
            raise DataError(f"{file}, line {reader.reader.line_num} is not valid CSV: {error}") from error
        names = reader.fieldnames or []
        if repeated := next((name for name in names if names.count(name) > 1), None):
            raise DataError(f"{file} has more than one column {repeated!r}; give each a unique name")
        if row is None:
            return
        if None in row:
            raise DataError(f"{file}, line {reader.line_num} has more fields than the header; quote texts that hold the separator")
        yield reader.line_num, row


def _next_row(reader: csv.DictReader[str], max_field: int | None) -> dict[str, str | None] | None:
    default = csv.field_size_limit() if max_field is None else csv.field_size_limit(max_field)
    try:
        if reader.fieldnames == []:
            reader.fieldnames = next(filter(None, reader.reader), [])
        return next(reader, None)
    finally:
        csv.field_size_limit(default)  # it is that of the whole program
