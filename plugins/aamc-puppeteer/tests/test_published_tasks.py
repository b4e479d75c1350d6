import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from aamc_puppeteer.testbed.dataset_format import read_published
from pyarrow import parquet

from aamc_sdk.errors import DataError

CODE = "def solution():\n    return 8653112 * 2"
GSM_HARD = {
    "input": "A shop sells 8653112 pears at 2 each. How much is that?",
    "code": CODE,
    "target": 17306224.0,
}
MMLU_PRO = {
    "question_id": 70,
    "question": "Which of these is a prime number?",
    "options": ["4", "6", "7", "9"],
    "answer": "C",
    "answer_index": 2,
    "cot_content": "",
    "category": "math",
    "src": "ori_mmlu-number_theory",
}
COMMONGEN_HARD = {"concepts": ["vest", "snow", "remove", "toddler"]}
SRDD = 'Name,Description,Category\nTick_Tock,"A clock that shows, in words, what time it is.",Clock\n'

Write = Callable[[str, Any], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, rows: Any) -> Path:
        file = tmp_path / name
        file.write_text(rows if isinstance(rows, str) else "\n".join(map(json.dumps, rows)), encoding="utf-8")
        return file

    return write


@pytest.mark.parametrize(
    ("name", "file", "rows", "right", "wrong"),
    [
        ("gsm-hard", "gsmhardv2.jsonl", [GSM_HARD], "It takes 17,306,224.", "17306225"),
        ("mmlu-pro", "test.jsonl", [MMLU_PRO], "The answer is (C).", "The answer is (A)."),
        (
            "commongen-hard",
            "commongen_hard.jsonl",
            [COMMONGEN_HARD],
            "To remove snow, a toddler needs a vest.",
            "A toddler removes snow.",
        ),
        ("srdd", "data_attribute_format.csv", SRDD, "def main():\n    print('noon')", "def main(): pass"),
    ],
)
def test_a_published_file_gives_tasks_with_a_verifier_that_fits(write: Write, name: str, file: str, rows: Any, right: str, wrong: str) -> None:
    (task,) = read_published(name, str(write(file, rows)))
    assert task.kind == name
    assert asyncio.run(task.verifier(task, right)).correct
    assert not asyncio.run(task.verifier(task, wrong)).correct


def test_options_are_listed_with_their_letters(write: Write) -> None:
    (task,) = read_published("mmlu-pro", str(write("test.jsonl", [MMLU_PRO])))
    assert "\nA. 4\nB. 6\nC. 7\nD. 9\n" in task.text
    assert task.reference == "C"


def test_parquet_is_read_as_well(tmp_path: Path) -> None:
    parquet.write_table(pa.Table.from_pylist([MMLU_PRO] * 2), tmp_path / "test.parquet")
    first, second = read_published("mmlu-pro", str(tmp_path / "test.parquet"))
    assert (first.text, first.id, second.id) == (second.text, "mmlu-pro-1", "mmlu-pro-2")


@pytest.mark.parametrize(
    ("name", "rows", "error"),
    [
        ("gsm-hard", [GSM_HARD, {"input": "?"}], "row 2: has no 'target'"),
        ("gsm-hard", [{**GSM_HARD, "target": "12"}], "'target' must be a number, not '12'"),
        ("mmlu-pro", [{**MMLU_PRO, "answer_index": 0}], "must name the same one of 4 options, not 'C' and 0"),
        ("mmlu-pro", [{**MMLU_PRO, "options": "4, 6"}], "'options' must be a list of 2 to 26 texts"),
        ("commongen-hard", [{"concepts": []}], "'concepts' must be a list of words"),
        ("srdd", [GSM_HARD], "row 1: has no 'Name'"),
        ("gsm-hard", [], "is empty; give at least one line"),
    ],
)
def test_a_bad_row_is_named(write: Write, name: str, rows: Any, error: str) -> None:
    with pytest.raises(DataError, match=error):
        read_published(name, str(write("rows.jsonl", rows)))


def test_a_csv_row_with_more_fields_than_the_header_is_refused(write: Write) -> None:
    with pytest.raises(DataError, match=r"rows\.csv, line 2 has more fields than the header; quote"):
        read_published("srdd", str(write("rows.csv", "Name,Description,Category\nClock,Shows hours, minutes,Tools\n")))


def test_csv_rows_are_numbered_from_1_whatever_their_lines(write: Write) -> None:
    content = 'Name,Description,Category\nClock,"Shows\nhours",Tools\n\nTimer,Counts,Tools\nA,,Tools\n'
    tasks = read_published("srdd", str(write("rows.csv", content.removesuffix("A,,Tools\n"))))
    assert [task.id for task in tasks] == ["srdd-1", "srdd-2"]
    with pytest.raises(DataError, match=r"row 3: .Description. must be a text"):
        read_published("srdd", str(write("rows.csv", content)))


@pytest.mark.parametrize(("name", "content", "error"), [("rows.txt", "x", "must end with one of"), ("rows.parquet", "x", "give a Parquet file")])
def test_a_file_of_another_kind_is_refused(write: Write, name: str, content: str, error: str) -> None:
    with pytest.raises(DataError, match=error):
        read_published("gsm-hard", str(write(name, content)))
