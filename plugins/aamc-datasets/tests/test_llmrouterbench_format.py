"""Format ``llmrouterbench``: small files in the published form."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aamc_datasets.published.llmrouterbench import SETTINGS, LLMRouterBench, LLMRouterBenchOptions
from aamc_datasets.published.routerarena import RouterArena
from aamc_datasets.published.score_table import CostOptions

from aamc_sdk import Dataset, Services
from aamc_sdk.errors import DataError

ANSWER = {
    "index": 1,
    "origin_query": "2+2?",
    "prompt": "Question: 2+2?\nAnswer:",
    "prediction": "4",
    "ground_truth": "4",
    "score": 1.0,
    "prompt_tokens": 15,
    "completion_tokens": 5,
    "cost": 0.0001,
    "raw_output": "It is 4.",
}
OTHER = ANSWER | {"index": 2, "prompt": "3+3?", "score": 0.0, "cost": 0.0003, "completion_tokens": 7}


def write(
    folder: Path, model: str, answers: list[Any], dataset: str = "aime", split: str = "hybrid", date: str = "20260101_000000", **run: Any
) -> Path:
    file = folder / dataset / split / model / f"{dataset}-{split}-{model}-{date}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {"performance": 0.5, "counts": len(answers), "model_name": model, "dataset_name": dataset, "split": split, "demo": False, **run}
    file.write_text(json.dumps(content | {"records": answers}))
    return file


def read(folder: Path, services: Services, **options: Any) -> Dataset:
    return LLMRouterBench(LLMRouterBenchOptions(**options), services).read(str(folder))


def test_answers_of_all_files_are_joined_by_dataset_split_and_index(tmp_path: Path, services: Services) -> None:
    write(tmp_path, "gpt-5", [ANSWER, OTHER])
    write(tmp_path, "qwen", [ANSWER | {"score": 0.0, "cost": 0.0, "completion_tokens": 9}])
    write(tmp_path, "qwen", [ANSWER | {"prompt": "What?"}], dataset="gpqa", split="test")
    dataset = read(tmp_path, services)
    assert dataset.outcomes is not None
    assert dataset.pool is not None
    assert dataset.pool.names == ("gpt-5", "qwen")
    assert [query.text for query in dataset.queries] == ["Question: 2+2?\nAnswer:", "3+3?", "What?"]
    assert list(dataset.labels.category) == ["aime", "aime", "gpqa"]  # type: ignore[arg-type]  # labelled
    np.testing.assert_array_equal([[1, 0], [0, np.nan], [np.nan, 1]], dataset.outcomes.quality)
    np.testing.assert_array_equal([[0.0001, 0], [0.0003, np.nan], [np.nan, 0.0001]], dataset.outcomes.cost_usd)
    np.testing.assert_array_equal([[5, 9], [7, np.nan], [np.nan, 5]], dataset.outcomes.output_tokens)


def test_the_newest_run_counts_and_a_demonstration_never(tmp_path: Path, services: Services) -> None:
    write(tmp_path, "gpt-5", [ANSWER | {"score": 0.25}], date="20260103_000000")
    write(tmp_path, "gpt-5", [ANSWER | {"score": 0.75}], date="20260102_235959")
    write(tmp_path, "gpt-5", [ANSWER | {"score": 0.5}], date="20260104_000000", demo=True)
    outcomes = read(tmp_path, services).outcomes
    assert outcomes is not None
    np.testing.assert_array_equal([[0.25]], outcomes.quality)


def test_a_setting_of_the_paper_chooses_models_datasets_and_splits(tmp_path: Path, services: Services) -> None:
    for model, dataset, split in [
        ("gpt-5", "mmlupro", "test_3000"),
        ("gpt-5", "mmlupro", "all"),
        ("Qwen3-8B", "mmlupro", "all"),
        ("gpt-5", "bbh", "test"),
    ]:
        write(tmp_path, model, [ANSWER | {"prompt": f"{dataset} {split}"}], dataset=dataset, split=split)
    assert [query.text for query in read(tmp_path, services, setting="performance-cost").queries] == ["mmlupro test_3000"]
    light = read(tmp_path, services, setting="performance")
    assert light.pool is not None
    assert (light.pool.names, [query.text for query in light.queries]) == (("Qwen3-8B",), ["mmlupro all"])
    assert [len(SETTINGS[name].models) for name in ("performance", "performance-cost")] == [20, 13]
    assert [len(SETTINGS[name].datasets) for name in ("performance", "performance-cost")] == [15, 10]


def test_models_of_a_setting_that_are_missing_are_named(tmp_path: Path, services: Services, caplog: pytest.LogCaptureFixture) -> None:
    for model in SETTINGS["performance-cost"].models[2:]:
        write(tmp_path, model, [ANSWER])
    with caplog.at_level(logging.WARNING):
        read(tmp_path, services, setting="performance-cost")
    assert "has no results of claude-sonnet-4, deepseek-r1-0528, which setting 'performance-cost' includes" in caplog.text


def test_a_named_model_without_results_on_the_chosen_datasets_is_not_said_to_be_of_the_setting(
    tmp_path: Path, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, "gpt-5", [ANSWER])
    write(tmp_path, "other", [ANSWER], dataset="gpqa", split="test")
    with caplog.at_level(logging.WARNING):
        read(tmp_path, services, models=("gpt-5", "other"), datasets=("aime",))
    assert "has no results of other on the chosen datasets" in caplog.text
    assert "setting" not in caplog.text


def test_options_name_models_and_datasets(tmp_path: Path, services: Services) -> None:
    for model in ("gpt-5", "glm-4.6", "other"):
        write(tmp_path, model, [ANSWER])
    write(tmp_path, "gpt-5", [ANSWER | {"prompt": "What?"}], dataset="gpqa", split="test")
    dataset = read(tmp_path, services, models=("other", "gpt-5"), datasets=("aime",), setting="performance-cost")
    assert dataset.pool is not None
    assert (dataset.pool.names, len(dataset.queries)) == (("gpt-5", "other"), 1)
    with pytest.raises(DataError, match=r"has no results of model 'gpt5'; did you mean 'gpt-5'"):
        read(tmp_path, services, models=("gpt5",))
    with pytest.raises(DataError, match=r"has no results of dataset 'hle'"):
        read(tmp_path, services, datasets=("hle",))


def test_a_model_without_any_cost_needs_a_price(tmp_path: Path, services: Services) -> None:
    write(tmp_path, "gpt-5", [ANSWER, OTHER | {"cost": None}])
    write(tmp_path, "local", [ANSWER | {"cost": None}, OTHER | {"cost": None}])
    with pytest.raises(DataError, match=r": candidate 'local' has no price \(1 of 2 have none\)"):
        read(tmp_path, services)
    outcomes = read(tmp_path, services, prices={"local": {"input": 0.0, "output": 1.0}}).outcomes
    assert outcomes is not None
    np.testing.assert_allclose(outcomes.cost_usd, [[0.0001, 5e-6], [np.nan, 7e-6]])


def test_an_unjudged_answer_is_unknown(tmp_path: Path, services: Services) -> None:
    write(tmp_path, "gpt-5", [ANSWER | {"score": None}, OTHER])
    outcomes = read(tmp_path, services).outcomes
    assert outcomes is not None
    np.testing.assert_array_equal([[np.nan], [0]], outcomes.quality)


def test_without_a_prompt_the_question_is_the_text_and_messages_become_json(tmp_path: Path, services: Services) -> None:
    messages = [{"type": "text", "text": "Welche Zahl für π?"}]
    write(tmp_path, "gpt-5", [ANSWER | {"prompt": ""}, OTHER | {"prompt": messages}])
    assert [query.text for query in read(tmp_path, services).queries] == ["2+2?", json.dumps(messages, ensure_ascii=False)]
    write(tmp_path, "gpt-5", [ANSWER | {"prompt": None, "origin_query": " "}], date="20260102_000000")
    with pytest.raises(DataError, match=r"answer 1 has neither 'prompt' nor 'origin_query'"):
        read(tmp_path, services)


def test_questions_asked_in_different_words_are_counted(tmp_path: Path, services: Services, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "gpt-5", [ANSWER, OTHER])
    write(tmp_path, "qwen", [ANSWER | {"prompt": "2 and 2?"}, OTHER])
    with caplog.at_level(logging.WARNING):
        dataset = read(tmp_path, services)
    assert dataset.queries[0].text == ANSWER["prompt"]
    assert "models were asked 1 question in different words, such as aime/hybrid/1" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"cannot read .*Input data was truncated; give results of LLMRouterBench"),
        ("[]", r"Expected `object`, got `array`"),
        ('{"model_name": "a", "split": "b"}', r"missing required field `dataset_name`"),
        (json.dumps({"dataset_name": "a", "split": "b", "model_name": "c", "records": []}), r"no answers of the chosen models and datasets; choose"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, services: Services, content: str, message: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match=message):
        read(tmp_path, services)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("score", 7, r"answer 1: score must be a number from 0 to 1, not 7"),
        ("score", "right", r"answer 1: score must be"),
        ("cost", -1.0, r"answer 1: cost must be a number from 0 to 1e\+12, not -1.0"),
        ("completion_tokens", "many", r"answer 1: completion_tokens must be a number from 0 to 1e\+09, not 'many'"),
    ],
)
def test_a_wrong_figure_is_refused_with_its_place(tmp_path: Path, services: Services, field: str, value: Any, message: str) -> None:
    file = write(tmp_path, "gpt-5", [ANSWER | {field: value}])
    with pytest.raises(DataError, match=message) as raised:
        read(tmp_path, services)
    assert str(file) in str(raised.value)


def test_a_folder_without_results_is_refused_and_another_format_points_here(tmp_path: Path, services: Services) -> None:
    with pytest.raises(DataError, match=r"has no \.json file, as format llmrouterbench reads"):
        read(tmp_path, services)
    with pytest.raises(DataError, match=r"does not exist; name a folder with the results of LLMRouterBench"):
        read(tmp_path / "missing", services)
    write(tmp_path, "gpt-5", [ANSWER])

    with pytest.raises(DataError, match=r"it looks like format llmrouterbench: --dataset llmrouterbench:"):
        RouterArena(CostOptions(), services).read(str(tmp_path))
