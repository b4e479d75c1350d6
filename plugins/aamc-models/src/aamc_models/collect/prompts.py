"""Prompts, and their right answers and unit tests, from JSON lines, CSV or plain text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from aamc_sdk.errors import DataError
from aamc_sdk.messages import one_of
from aamc_sdk.storage import csv_rows, json_lines, text_lines
from aamc_sdk.types import check_text

PROMPT_FIELDS = ("prompt", "query", "question", "text", "input")
ANSWER_FIELDS = ("answer", "reference", "expected", "target")
TESTS_FIELD = "tests"
SUFFIXES = (".jsonl", ".csv", ".txt")
_MAX_FIELD = 2**31 - 1
"""Maximum characters of a CSV field: the module csv alone allows 131,072, fewer than many models' context windows."""


@attrs.frozen(kw_only=True)
class Prompt:
    """A prompt.

    Attributes:
        text: The text that is sent.
        answers: The right answers, each as good as the others; empty if none is known.
        tests: Unit tests of the answer: Python programs that fail by an error.
        row: The whole row of the file.
        location: File and line, for messages.
    """

    text: str
    answers: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    row: Mapping[str, Any] = attrs.field(factory=dict)
    location: str = ""


def read_prompts(path: Path, *, prompt_field: str | None = None, answer_field: str | None = None) -> list[Prompt]:
    """Read a file of prompts: JSON lines with an object each, CSV with a header, or text with a prompt a line.

    Args:
        path: The file.
        prompt_field: The key of the prompt; the first of ``PROMPT_FIELDS`` that a row has when None.
        answer_field: The key of the right answer, a text, a number or a list of them; the first of ``ANSWER_FIELDS`` when None.

    Raises:
        DataError: The file cannot be read, or a row has no prompt; the message gives the line.
    """
    if path.suffix not in SUFFIXES:
        raise DataError(f"prompts must be in a file that ends in {one_of(SUFFIXES)}, not {path.name!r}")
    prompts = [_prompt(row, f"{path}, line {number}", prompt_field, answer_field) for number, row in _rows(path)]
    if not prompts:
        raise DataError(f"{path} has no prompts; give at least one line")
    return prompts


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if path.suffix == ".txt":
        yield from ((number, {"prompt": line.strip()}) for number, line in text_lines(path) if line.strip())
    elif path.suffix == ".csv":
        for number, fields in csv_rows(path, max_field=_MAX_FIELD):
            yield number, {name: value for name, value in fields.items() if value}
    else:
        for number, row in json_lines(path):
            if not isinstance(row, dict):
                raise DataError(f'{path}, line {number} must be an object such as {{"prompt": "...", "answer": "..."}}, not {row!r:.80}')
            yield number, row


def _prompt(row: Mapping[str, Any], location: str, prompt_field: str | None, answer_field: str | None) -> Prompt:
    fields = (prompt_field,) if prompt_field else PROMPT_FIELDS
    found = next((field for field in fields if field in row), None)
    if found is None:
        raise DataError(f"{location} has no prompt (it has: {one_of(map(str, row))}); name its field with --prompt-field")
    if not isinstance(row[found], str) or not row[found].strip():
        raise DataError(f"{location}: {found!r} must be a text that is not empty, not {row[found]!r:.80}")
    check_text(row[found], f"{location}: {found!r}")
    if isinstance(row.get("category"), str):
        check_text(row["category"], f"{location}: 'category'")
    answers = next((row[field] for field in ((answer_field,) if answer_field else ANSWER_FIELDS) if row.get(field) not in (None, "")), ())
    return Prompt(
        text=row[found],
        answers=_texts(answers, f"{location}: the answer"),
        tests=_texts(row.get(TESTS_FIELD, ()), f"{location}: {TESTS_FIELD!r}"),
        row=row,
        location=location,
    )


def _texts(value: Any, what: str) -> tuple[str, ...]:
    values = value if isinstance(value, list | tuple) else (value,)
    if not all(isinstance(item, str) or (type(item) in (int, float) and math.isfinite(item)) for item in values):
        raise DataError(f"{what} must be a text, a finite number, or a list of them, not {value!r:.80}")
    for item in values:
        check_text(str(item), what)
    return tuple(str(item) for item in values)


def without_repeats(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Return the prompts, each text once, with all its right answers: models would be paid twice for the same answer."""
    found: dict[str, Prompt] = {}
    for prompt in prompts:
        first = found.setdefault(prompt.text, prompt)
        found[prompt.text] = attrs.evolve(first, answers=tuple(dict.fromkeys((*first.answers, *prompt.answers))))
    return list(found.values())
