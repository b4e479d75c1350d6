"""Format ``llmrouter``: the published files, and small ones made here."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aamc_datasets.published.llmrouter import LLMRouter
from aamc_datasets.published.score_table import CostOptions

from aamc_sdk import Dataset, Services
from aamc_sdk.errors import ConfigError, DataError
from aamc_sdk.routing import expected_cost

CANDIDATES = {
    "small": {"size": "2B", "feature": "Quick.", "input_price": 0.1, "output_price": 0.2, "model": "x/small"},
    "large": {"size": "70B", "feature": "Able.", "input_price": 1.0, "output_price": 2, "model": "x/large"},
}
ROW = {"question": "x" * 40, "task_name": "math", "scores": {"large": 1.0, "small": 0.25}}


def read(folder: Path, services: Services, rows: Any, candidates: Any = CANDIDATES, **options: Any) -> Dataset:
    for name, content in (("outcomes.json", rows), ("llm_candidates.json", candidates)):
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return LLMRouter(CostOptions(**options), services).read(str(folder))


def test_scores_prices_and_tasks_are_read(tmp_path: Path, services: Services) -> None:
    dataset = read(tmp_path, services, [ROW])
    assert dataset.outcomes is not None
    assert dataset.pool is not None
    assert dataset.pool.names == ("small", "large")
    assert [candidate.description for candidate in dataset.pool] == ["Quick. Size 2B.", "Able. Size 70B."]
    assert list(dataset.labels.category) == ["math"]  # type: ignore[arg-type]  # labelled
    np.testing.assert_array_equal([[0.25, 1.0]], dataset.outcomes.quality)
    np.testing.assert_allclose([[(10 * 0.1 + 256 * 0.2) / 1e6, (10 * 1.0 + 256 * 2) / 1e6]], dataset.outcomes.cost_usd)
    assert np.isnan(dataset.outcomes.latency_ms).all()
    assert "estimated at 4 characters each" in dataset.cost_note
    assert "256 output tokens" in dataset.cost_note


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_files_in_another_encoding_of_unicode_are_read(tmp_path: Path, services: Services, encoding: str) -> None:
    expected = read(tmp_path, services, [{**ROW, "question": "What is für?"}])
    for file in tmp_path.iterdir():
        file.write_text(file.read_text(), encoding=encoding)
    assert LLMRouter(CostOptions(), services).read(str(tmp_path)).queries == expected.queries


def test_a_file_that_is_not_text_is_refused_with_what_to_do(tmp_path: Path, services: Services) -> None:
    read(tmp_path, services, [ROW])
    (tmp_path / "outcomes.json").write_bytes(b'["\xff"]')
    with pytest.raises(DataError, match=r"outcomes.json: it is not text in UTF-8; save it in UTF-8"):
        LLMRouter(CostOptions(), services).read(str(tmp_path))


@pytest.mark.parametrize("options", [{}, {"characters_per_token": 5.0}, {"output_tokens": 100}, {"characters_per_token": 3.0, "output_tokens": 0}])
def test_costs_agree_with_what_a_request_would_expect(tmp_path: Path, services: Services, options: dict[str, Any]) -> None:
    dataset = read(tmp_path, services, [ROW], **options)
    prompt, answer = -(-40 // options.get("characters_per_token", 4.0)), options.get("output_tokens", 256)
    assert dataset.outcomes is not None
    assert dataset.pool is not None
    np.testing.assert_allclose([[(prompt * 0.1 + answer * 0.2) / 1e6, (prompt * 1.0 + answer * 2) / 1e6]], dataset.outcomes.cost_usd)
    np.testing.assert_array_equal(expected_cost(dataset.queries, dataset.pool), dataset.outcomes.cost_usd)
    assert f"{options.get('characters_per_token', 4):g} characters" in dataset.cost_note
    assert f"{answer} output tokens" in dataset.cost_note


def test_prices_of_the_options_win_over_the_files(tmp_path: Path, services: Services) -> None:
    dataset = read(tmp_path, services, [ROW], prices={"large": {"input": 3.0, "output": 4.0}})
    assert dataset.outcomes is not None
    np.testing.assert_allclose([[(10 * 0.1 + 256 * 0.2) / 1e6, (10 * 3.0 + 256 * 4.0) / 1e6]], dataset.outcomes.cost_usd)


def test_a_missing_score_is_an_unknown_cell_and_repeated_questions_are_kept(tmp_path: Path, services: Services) -> None:
    dataset = read(tmp_path, services, [ROW, {**ROW, "scores": {"small": 1}}])
    assert dataset.outcomes is not None
    np.testing.assert_array_equal([[0.25, 1], [1, np.nan]], dataset.outcomes.quality)
    assert dataset.complete.tolist() == [True, False]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("", "outcomes.json is not valid JSON"),
        ('[{"question": "a", ', "outcomes.json is not valid JSON .* cut off"),
        ([], "at least one question"),
        ({"question": "a"}, "must be a list"),
        ([ROW, 3], "entry 2 must be an object, not 3"),
        ([{**ROW, "question": ""}], "entry 1: 'question' must be a text that is not empty, not ''"),
        ([{"query": "a", "task_name": "b", "scores": {"small": 1}}], "'question' must be a text"),
        ([ROW, {**ROW, "question": " "}], "entry 2: 'question' must be a text that is not empty, not ' '"),
        ([ROW, {**ROW, "question": "\ud800"}], "entry 2: 'question' must be valid Unicode"),
        ([ROW, {**ROW, "task_name": "\ud800"}], "entry 2: 'task_name' must be valid Unicode"),
        ('[{"question": "a", "task_name": "b", "scores": {"small": 1, "small": 0}}]', "outcomes.json: key 'small' occurs twice in one object"),
        ([{**ROW, "task_name": 3}], "'task_name' must be a text that is not empty, not 3"),
        ([{**ROW, "scores": [1]}], "'scores' must be an object of scores by candidate"),
        ([ROW, {**ROW, "scores": {"smal": 1}}], "entry 2: llm_candidates.json has no candidate 'smal'; did you mean 'small'"),
        ([{**ROW, "scores": {"small": 101}}], "the score of 'small' must be a number from 0 to 1, not 101"),
        ([{**ROW, "scores": {"small": float("nan")}}], "the score of 'small' must be a number from 0 to 1, not nan"),
        ([{**ROW, "scores": {"small": "1"}}], "the score of 'small' must be a number from 0 to 1, not '1'"),
    ],
)
def test_bad_rows_are_refused(tmp_path: Path, services: Services, rows: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, services, rows)


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ({}, "must be an object with a candidate for each key"),
        ([1], "must be an object with a candidate for each key"),
        ('{"small": 3, "small": 3}', "llm_candidates.json: key 'small' occurs twice in one object"),
        ({"small": 3}, "candidate 'small' must be an object, not 3"),
        ({"small": {"input_prise": 1, "output_price": 1}}, "candidate 'small' has no 'input_price'; did you mean 'input_prise'"),
        ({"small": {"input_price": 1, "output_price": None}}, "candidate 'small' has no 'output_price'"),
        ({"small": {"input_price": "1", "output_price": 1}}, r"\(small\): prices.*must be a number, not '1'"),
        ({"small": {"input_price": -1, "output_price": 1}}, "price input must be USD from 0 to 1e\\+12, not -1"),
    ],
)
def test_bad_candidates_are_refused(tmp_path: Path, services: Services, candidates: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, services, [ROW], candidates)


def test_paths_of_nothing_or_of_another_format_are_refused(tmp_path: Path, services: Services) -> None:
    reader = LLMRouter(CostOptions(), services)
    with pytest.raises(ConfigError, match="no path was given"):
        reader.read("")
    with pytest.raises(DataError, match="nowhere does not exist"):
        reader.read(str(tmp_path / "nowhere"))
    (tmp_path / "outcomes.jsonl").write_text('{"query": "a", "outcomes": {}}')
    with pytest.raises(DataError, match=r"has no outcomes\.json, .* looks like format outcomes: --dataset outcomes:"):
        reader.read(str(tmp_path))


def test_the_published_files_are_read_whole(services: Services, published: Path) -> None:
    folder = published / "llmrouter"
    dataset = LLMRouter(CostOptions(), services).read(str(folder))
    assert dataset.pool is not None
    assert dataset.outcomes is not None
    assert (len(dataset), len(dataset.pool)) == (4770, 9)
    assert dataset.complete.all()
    first = json.loads((folder / "outcomes.json").read_text())[0]
    assert first["scores"] == dict(zip(dataset.pool.names, dataset.outcomes.known_quality[0].tolist(), strict=True))
    assert len(set(dataset.labels.category)) == 14  # type: ignore[arg-type]  # labelled
