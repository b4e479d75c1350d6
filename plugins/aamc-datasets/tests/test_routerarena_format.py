"""Format ``routerarena``: the published files, and small ones made here."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aamc_datasets.published.routerarena import RouterArena
from aamc_datasets.published.score_table import CostOptions

from aamc_sdk import Dataset, Services
from aamc_sdk.errors import DataError

ROW = {
    "global_index": "Some_set_7",
    "question": "xxxxxxxx",
    "llm_selected": "small",
    "success": True,
    "evaluation_result": {"score": 0.5, "inference_cost": 0.001},
}


def read(folder: Path, services: Services, files: dict[str, list[Any]], **options: Any) -> Dataset:
    for name, rows in files.items():
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return RouterArena(CostOptions(**options), services).read(str(folder))


def test_files_are_joined_by_question_and_missing_cells_are_unknown(tmp_path: Path, services: Services) -> None:
    other = {**ROW, "llm_selected": "large", "evaluation_result": {"score": 1, "inference_cost": 0.01}}
    second = {**ROW, "global_index": "Else_1", "question": "y"}
    dataset = read(tmp_path, services, {"a.jsonl": [ROW, second], "b.jsonl": [other]})
    assert dataset.outcomes is not None
    assert dataset.pool is not None
    assert dataset.pool.names == ("small", "large")
    assert [query.text for query in dataset.queries] == ["xxxxxxxx", "y"]
    assert list(dataset.labels.category) == ["Some_set", "Else"]  # type: ignore[arg-type]  # labelled
    np.testing.assert_array_equal([[0.5, 1], [0.5, np.nan]], dataset.outcomes.quality)
    np.testing.assert_array_equal([[0.001, 0.01], [0.001, np.nan]], dataset.outcomes.cost_usd)
    assert np.isnan(dataset.outcomes.latency_ms).all()
    assert dataset.cost_note == ""


def test_token_usage_gives_the_lengths_of_answers(tmp_path: Path, services: Services) -> None:
    used = ROW | {"token_usage": {"input_tokens": 9, "output_tokens": 120}}
    other = ROW | {"question": "other", "global_index": "Some_set_8", "token_usage": None}
    outcomes = read(tmp_path, services, {"a.jsonl": [used, other]}).outcomes
    assert outcomes is not None
    np.testing.assert_array_equal([[120], [np.nan]], outcomes.output_tokens)
    with pytest.raises(DataError, match=r"line 1: output_tokens must be a number from 0 to 1e\+09, not 'many'"):
        read(tmp_path, services, {"a.jsonl": [ROW | {"token_usage": {"output_tokens": "many"}}]})


def test_success_is_not_read_and_an_answer_that_nobody_judged_is_unknown(tmp_path: Path, services: Services) -> None:
    failed = {**ROW, "question": "z", "global_index": "A_1", "evaluation_result": None}
    dataset = read(tmp_path, services, {"a.jsonl": [{**ROW, "success": False}, failed]})
    assert dataset.outcomes is not None
    np.testing.assert_array_equal([[0.5], [np.nan]], dataset.outcomes.quality)


def test_without_an_index_rows_are_joined_by_their_question(tmp_path: Path, services: Services) -> None:
    bare = {key: value for key, value in ROW.items() if key != "global_index"}
    dataset = read(tmp_path, services, {"a.jsonl": [bare], "b.jsonl": [{**bare, "llm_selected": "large"}]})
    assert len(dataset) == 1
    assert dataset.labels.category is None


def test_a_price_replaces_a_measured_cost_and_is_said(tmp_path: Path, services: Services) -> None:
    rows = {"a.jsonl": [ROW, {**ROW, "llm_selected": "large"}]}
    dataset = read(tmp_path, services, rows, prices={"large": {"input": 1.0, "output": 2.0}}, output_tokens=10)
    assert dataset.outcomes is not None
    np.testing.assert_allclose([[0.001, (2 * 1.0 + 10 * 2.0) / 1e6]], dataset.outcomes.cost_usd)
    assert dataset.cost_note.startswith("price times tokens for large; prompt tokens")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([1], r"line 2: must be an object with evaluation_result, llm_selected, question, not \[1\]"),
        ({"question": "q", "llm_selectd": "m"}, "line 2: has no 'llm_selected'; did you mean 'llm_selectd'"),
        ({**ROW, "question": " "}, "line 2: 'question' must be a text that is not empty"),
        ({**ROW, "evaluation_result": {"score": 1}}, r"line 2: has no 'inference_cost' \(it has: score\)"),
        ({**ROW, "evaluation_result": 1}, "line 2: must be an object with inference_cost, score, not 1"),
        ({**ROW, "evaluation_result": {"score": 85, "inference_cost": 0}}, "line 2: score must be a number from 0 to 1, not 85"),
        ({**ROW, "evaluation_result": {"score": 1, "inference_cost": -1}}, r"line 2: inference_cost must be a number from 0 to 1e\+12, not -1"),
        ({**ROW, "token_usage": 120}, "line 2: 'token_usage' must be an object, not 120"),
        ({**ROW, "question": "\ud800"}, "line 2: 'question' must be valid Unicode"),
        ({**ROW, "question": "other"}, ": question 'Some_set_7' has two texts, 'xxxxxxxx' and 'other'"),
    ],
)
def test_bad_lines_are_refused(tmp_path: Path, services: Services, row: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, services, {"a.jsonl": [ROW, row]})


def test_other_formats_and_empty_files_are_refused(tmp_path: Path, services: Services) -> None:
    with pytest.raises(DataError, match=r"has no \.jsonl file"):
        read(tmp_path, services, {})
    with pytest.raises(DataError, match=r"line 1: has no 'question'.*looks like format outcomes"):
        read(tmp_path, services, {"a.jsonl": [{"query": "a", "outcomes": {}}]})
    with pytest.raises(DataError, match=r"a\.jsonl is empty"):
        read(tmp_path, services, {"a.jsonl": []})


def test_the_published_files_have_the_means_that_they_give(services: Services, published: Path) -> None:
    folder = published / "routerarena"
    dataset = RouterArena(CostOptions(), services).read(str(folder))
    assert dataset.outcomes is not None
    assert dataset.pool is not None
    assert len(dataset) == 534
    assert dataset.pool.names == ("claude-3-haiku-20240307", "gemini-2.0-flash-001")
    assert dataset.complete.all()
    for column, file in enumerate(sorted(folder.glob("*.jsonl"))):
        results = [json.loads(line)["evaluation_result"] for line in file.read_text().splitlines()]
        means = [sum(result[key] for result in results) / 534 for key in ("score", "inference_cost")]
        np.testing.assert_allclose(means, dataset.outcomes.means[column, :2])
