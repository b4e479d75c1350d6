"""Datasets of questions with gold answers, in the formats of Natural Questions, TriviaQA, PopQA, HotpotQA, 2WikiMultihopQA, MuSiQue and Bamboogle.

Each format also reads the rows of FlashRAG (https://huggingface.co/datasets/RUC-NLPIR/FlashRAG_datasets), which the paper's code downloads:
``question`` and ``golden_answers``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
from aamc_datasets.json_rows import parse_rows, require, text

from aamc_sdk import Dataset, DatasetFormat, Query
from aamc_sdk.errors import DataError
from aamc_sdk.messages import check_type, read_errors
from aamc_sdk.storage import csv_rows, json_lines, parse_json
from aamc_sdk.types import Labels, check_text


@attrs.frozen(eq=False)
class QuestionDataset(Dataset):
    """Questions, each with at least one gold answer."""

    row_fields = ("golds",)
    golds: Sequence[tuple[str, ...]] = attrs.field(default=(), kw_only=True)


def golds_of(dataset: Dataset) -> Sequence[tuple[str, ...]]:
    """Return the gold answers of each row; a dataset with references has one each.

    Raises:
        DataError: The dataset has no gold answers.
    """
    if isinstance(dataset, QuestionDataset):
        return dataset.golds
    if dataset.references is not None:
        return [(reference,) for reference in dataset.references]
    raise DataError("the dataset has no gold answers; use questions with answers, such as nq:PATH or hotpotqa:PATH")


Row = Mapping[str, Any]
Parsed = tuple[str, Sequence[Any]]
_SUFFIXES = (".json", ".jsonl", ".csv", ".tsv")


def _nq(row: Row) -> Parsed:
    """NQ-open: ``question`` and ``answer``, a list."""
    require(row, ("question", "answer"))
    return text(row, "question"), _listed(row["answer"])


def _triviaqa(row: Row) -> Parsed:
    """TriviaQA: ``Question`` and ``Answer`` with ``Value`` and ``Aliases``, or the same in lower case."""
    lower = {key.lower(): value for key, value in row.items()}
    require(lower, ("question", "answer"))
    given = check_type(lower["answer"], Mapping, "'Answer' must be an object with a 'Value'", DataError)
    answer = {key.lower(): value for key, value in given.items()}
    require(answer, ("value",))
    return text(lower, "question"), [answer["value"], *_listed(answer.get("aliases") or [])]


def _popqa(row: Row) -> Parsed:
    """PopQA: ``question`` and ``possible_answers``, a list in JSON."""
    require(row, ("question", "possible_answers"))
    answers = row["possible_answers"]
    return text(row, "question"), _listed(parse_json(answers, "possible_answers") if isinstance(answers, str) else answers)


def _hotpotqa(row: Row) -> Parsed:
    """HotpotQA, 2WikiMultihopQA and MuSiQue: ``question`` and ``answer``, a text; ``answer_aliases`` where the file has them."""
    require(row, ("question", "answer"))
    return text(row, "question"), [text(row, "answer"), *_listed(row.get("answer_aliases") or [])]


def _bamboogle(row: Row) -> Parsed:
    """Bamboogle: columns ``Question`` and ``Answer``."""
    lower = {key.lower(): value for key, value in row.items()}
    require(lower, ("question", "answer"))
    return text(lower, "question"), [text(lower, "answer")]


PUBLISHED: Mapping[str, Callable[[Row], Parsed]] = {
    "nq": _nq,
    "triviaqa": _triviaqa,
    "popqa": _popqa,
    "hotpotqa": _hotpotqa,
    "2wiki": _hotpotqa,
    "musique": _hotpotqa,
    "bamboogle": _bamboogle,
}
"""Reads a row of each format into the question and its gold answers."""


def read_questions(name: str, path: Path) -> QuestionDataset:
    """Read a benchmark's file: JSON (a list of rows, or TriviaQA's ``Data``), JSON lines, CSV or TSV.

    Raises:
        DataError: The file is missing or empty, or has a bad row, which the error names by its number.
    """

    def parse(row: Any) -> tuple[Query, tuple[str, ...]]:
        require(row, ())
        asked, answers = _flashrag(row) if "golden_answers" in row else PUBLISHED[name](row)
        return Query(asked.strip()), _checked(answers)

    parsed = parse_rows(path, ((f"{path}, {where}", row) for where, row in _rows(path)), parse)
    questions, golds = map(list, zip(*parsed, strict=True))
    labels = Labels(category=np.full(len(questions), name))
    return QuestionDataset(questions, labels=labels, references=[found[0] for found in golds], source=f"{name}:{path}", golds=golds)


def _flashrag(row: Row) -> Parsed:
    require(row, ("question", "golden_answers"))
    return text(row, "question"), _listed(row["golden_answers"])


def _listed(answers: Any) -> list[Any]:
    return answers if isinstance(answers, list) else [answers]


def _checked(answers: Sequence[Any]) -> tuple[str, ...]:
    """Return the gold answers without repetitions."""
    for answer in answers:
        check_text(check_type(answer, str, "a gold answer must be a text", DataError), "a gold answer")
    found = tuple(dict.fromkeys(answer.strip() for answer in answers if answer.strip()))
    if not found:
        raise DataError("the question has no gold answer; leave it out, or add its ground truth")
    return found


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    if path.suffix not in _SUFFIXES:
        raise DataError(f"{path} must be a file that ends in {', '.join(_SUFFIXES)}; give a benchmark's file as it was published")
    if path.suffix != ".json":
        rows = json_lines(path) if path.suffix == ".jsonl" else csv_rows(path, delimiter="\t" if path.suffix == ".tsv" else ",")
        yield from ((f"line {number}", row) for number, row in rows)
        return
    with read_errors(path, "give a text file in UTF-8"):
        content = path.read_text(encoding="utf-8-sig")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        yield from ((f"line {number}", row) for number, row in json_lines(path))  # JSON lines under the other suffix, as MuSiQue's
        return
    questions = document.get("Data", document.get("data")) if isinstance(document, Mapping) else document
    if not isinstance(questions, list):
        raise DataError(f"{path} must hold a list of questions, or an object with 'Data', not {type(document).__name__}")
    yield from ((f"question {number}", row) for number, row in enumerate(questions, 1))


class _Published(DatasetFormat):
    name: ClassVar[str]

    def read(self, path: str) -> QuestionDataset:
        """Read a benchmark's file; see :func:`read_questions`."""
        if not path:
            raise DataError(f"no file was given; name one after the format's colon, such as {self.name}:test.jsonl")
        return read_questions(self.name, Path(path))


def _published(name: str, paper: str) -> type[_Published]:
    """Return the dataset format of a benchmark."""
    return type("Published", (_Published,), {"name": name, "__doc__": f"{paper}: questions with gold answers.", "__module__": __name__})


NaturalQuestions = _published("nq", "NQ-open (arXiv 1906.00300)")
TriviaQA = _published("triviaqa", "TriviaQA (arXiv 1705.03551)")
PopQA = _published("popqa", "PopQA (arXiv 2212.10511)")
HotpotQA = _published("hotpotqa", "HotpotQA (arXiv 1809.09600)")
TwoWiki = _published("2wiki", "2WikiMultihopQA (arXiv 2011.01060)")
MuSiQue = _published("musique", "MuSiQue (arXiv 2108.00573)")
Bamboogle = _published("bamboogle", "Bamboogle (arXiv 2210.03350)")
