"""Task suites in their published formats: GSM-Hard, MMLU-Pro, SRDD and CommonGen-Hard. Nothing is downloaded."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from aamc_agents.tasks import Task
from aamc_datasets.json_rows import json_lines, parse_rows, require, text
from aamc_datasets.recognition import existing

from aamc_puppeteer.tasks.verifiers import CompleteProgram, Coverage, MultipleChoice, Numeric
from aamc_sdk.errors import DataError, one_of, read_errors

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
Row = Mapping[str, Any]


def gsm_hard(task_id: str, row: Row) -> Task:
    """Read a row of GSM-Hard (arXiv 2211.10435): ``input``, ``code`` and ``target``, a number."""
    require(row, ("input", "target"))
    if isinstance(row["target"], bool) or not isinstance(row["target"], int | float):
        raise DataError(f"'target' must be a number, not {row['target']!r:.80}")
    return Task(id=task_id, text=text(row, "input"), kind="gsm-hard", verifier=Numeric(absolute=1e-3, relative=0.0), reference=repr(row["target"]))


def mmlu_pro(task_id: str, row: Row) -> Task:
    """Read a row of MMLU-Pro (arXiv 2406.01574): ``question``, ``options``, ``answer`` (a letter), ``answer_index`` and ``category``."""
    require(row, ("question", "options", "answer", "answer_index"))
    options, answer = row["options"], row["answer"]
    if not isinstance(options, list) or not 2 <= len(options) <= len(LETTERS):
        raise DataError(f"'options' must be a list of 2 to {len(LETTERS)} texts, not {options!r:.80}")
    if not isinstance(row["answer_index"], int) or not 0 <= row["answer_index"] < len(options) or answer != LETTERS[row["answer_index"]]:
        raise DataError(f"'answer' and 'answer_index' must name the same one of {len(options)} options, not {answer!r} and {row['answer_index']!r}")
    listed = "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))
    asked = f"{text(row, 'question')}\n{listed}\nSay the letter of the right answer."
    return Task(id=task_id, text=asked, kind="mmlu-pro", verifier=MultipleChoice(), reference=answer)


def srdd(task_id: str, row: Row) -> Task:
    """Read a row of SRDD (arXiv 2307.07924): ``Name``, ``Description`` and ``Category`` of a piece of software. It has no correct answer."""
    require(row, ("Name", "Description", "Category"))
    asked = f"Write a Python program, {text(row, 'Name')}, that fits this description:\n{text(row, 'Description')}"
    return Task(id=task_id, text=asked, kind="srdd", verifier=CompleteProgram())


def commongen_hard(task_id: str, row: Row) -> Task:
    """Read a row of CommonGen-Hard (arXiv 2303.17651): ``concepts``, a list of 20 to 30 words."""
    require(row, ("concepts",))
    concepts = row["concepts"]
    if not isinstance(concepts, list) or not concepts or not all(isinstance(word, str) and word.strip() and "," not in word for word in concepts):
        raise DataError(f"'concepts' must be a list of words, not {concepts!r:.80}")
    words = ", ".join(concepts)
    asked = f"Write a coherent and grammatical text that uses all of these words as they stand: {words}."
    return Task(id=task_id, text=asked, kind="commongen-hard", verifier=Coverage(), reference=words)


PUBLISHED: Mapping[str, Callable[[str, Row], Task]] = {
    "gsm-hard": gsm_hard,
    "mmlu-pro": mmlu_pro,
    "srdd": srdd,
    "commongen-hard": commongen_hard,
}
"""Converts a row into a task, by the suite's name. SRDD has no references: its verifier checks the form alone."""


def read_published(name: str, path: str) -> list[Task]:
    """Return the tasks of a file in its published format: JSON lines, Parquet or CSV."""
    file = existing(path, "file of JSON lines, Parquet or CSV")
    rows = ((f"{file}, row {number}", (f"{name}-{number}", row)) for number, row in _rows(file))
    return parse_rows(file, rows, lambda task: PUBLISHED[name](*task))


def _rows(file: Path) -> Iterator[tuple[int, Any]]:
    """Yield each row with its number, from 1."""
    if file.suffix not in _READERS:
        raise DataError(f"{file} must end with one of {one_of(_READERS)}")
    return _READERS[file.suffix](file)


def _csv_rows(file: Path) -> Iterator[tuple[int, Any]]:
    with read_errors(file, "give a CSV file in UTF-8", csv.Error), file.open(encoding="utf-8-sig", newline="") as lines:
        yield from enumerate(csv.DictReader(lines), start=1)


def _parquet_rows(file: Path) -> Iterator[tuple[int, Any]]:
    import pyarrow.parquet  # type: ignore[import-untyped]  # it has no types

    try:
        rows = pyarrow.parquet.read_table(file).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"cannot read {file}: {str(error).splitlines()[0]}; give a Parquet file") from error
    yield from enumerate(rows, start=1)


_READERS = {".jsonl": json_lines, ".csv": _csv_rows, ".parquet": _parquet_rows}
