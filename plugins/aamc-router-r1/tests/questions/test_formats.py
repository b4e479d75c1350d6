"""The benchmarks' files, as their authors publish them."""

import json

import numpy as np
import pytest
from aamc_router_r1.questions import PUBLISHED, golds_of, read_questions

from aamc_sdk import Dataset, Query
from aamc_sdk.errors import DataError
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.testing import assert_conforms

FILES = {
    "nq": ("nq.jsonl", '{"question": "who wrote emma", "answer": ["Jane Austen", "Austen"]}\n'),
    "triviaqa": ("t.json", json.dumps({"Data": [{"Question": "who wrote emma", "Answer": {"Value": "Jane Austen", "Aliases": ["Austen"]}}]})),
    "popqa": ("p.tsv", 'id\tquestion\tpossible_answers\n1\twho wrote emma\t"[""Jane Austen"", ""Austen""]"\n'),
    "hotpotqa": ("h.json", '[{"_id": "1", "question": "who wrote emma", "answer": "Jane Austen", "answer_aliases": ["Austen"], "type": "bridge"}]'),
    "2wiki": ("w.json", '[{"_id": "1", "question": "who wrote emma", "answer": "Jane Austen", "answer_aliases": ["Austen"], "type": "bridge"}]'),
    "musique": ("m.jsonl", '{"id": "1", "question": "who wrote emma", "answer": "Jane Austen", "answer_aliases": ["Austen"], "answerable": true}'),
    "bamboogle": ("b.csv", "Question,Answer\nwho wrote emma,Jane Austen\n"),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_file_is_read(name, tmp_path):
    file, content = FILES[name]
    (tmp_path / file).write_text(content)
    read = read_questions(name, tmp_path / file)
    assert [query.text for query in read.queries] == ["who wrote emma"]
    assert read.golds == [("Jane Austen", "Austen")[: 1 if name == "bamboogle" else 2]]
    assert golds_of(read.take(np.array([0]))) == read.golds


@pytest.mark.parametrize("name", PUBLISHED)
def test_rows_of_flashrag_are_read(name, tmp_path):
    (tmp_path / "f.jsonl").write_text('{"id": "0", "question": "q", "golden_answers": ["a", "a", "b"]}')
    assert read_questions(name, tmp_path / "f.jsonl").golds == [("a", "b")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"question": "q", "answer": []}', "line 2: the question has no gold answer"),
        ('{"question": "q", "answer": ["\\ud800"]}', "line 2: a gold answer must be valid Unicode"),
        ('{"question": "q"}', "line 2: has no 'answer'"),
        ('{"question": "", "answer": ["a"]}', "line 2: 'question' must be a text"),
        ('{"question": "q", "answer": [1]}', "line 2: a gold answer must be a text"),
        ("{broken", "line 2 is not valid JSON"),
        ("[1]", "line 2: must be an object"),
    ],
)
def test_a_bad_line_is_named_by_its_number(line, message, tmp_path):
    (tmp_path / "nq.jsonl").write_text(f'{{"question": "q", "answer": ["a"]}}\n{line}\n')
    with pytest.raises(DataError, match=message):
        read_questions("nq", tmp_path / "nq.jsonl")


@pytest.mark.parametrize(("name", "content"), [("x.csv", "Question,Answer\nWho, then?,Ada\n"), ("x.tsv", "Question\tAnswer\nWho?\tAda\tBen\n")])
def test_a_row_with_more_fields_than_the_header_is_refused(name, content, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match="line 2 has more fields than the header; quote"):
        read_questions("bamboogle", tmp_path / name)


@pytest.mark.parametrize(
    ("file", "content"), [("x.txt", "x"), ("x.json", '{"a": 1}'), ("x.json", "[" * 100_000), ("x.jsonl", ""), ("x.csv", 'Question,Answer\n"q')]
)
def test_a_file_without_questions_is_refused(file, content, tmp_path):
    (tmp_path / file).write_text(content)
    with pytest.raises(DataError, match=file):
        read_questions("bamboogle", tmp_path / file)


def test_references_are_gold_answers_too():
    assert golds_of(Dataset([Query("q")], references=["a"])) == [("a",)]
    with pytest.raises(DataError, match="gold answers"):
        golds_of(Dataset([Query("q")]))


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_format_keeps_the_contract_of_formats(name):
    assert_conforms("dataset", name, get_plugin_manager())
