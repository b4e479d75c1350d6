"""Training records of Router-R1."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aamc_router_r1.data import RoutingDataset, RoutingRecords, as_dataset, parse_record, read_records, tasks_of
from aamc_router_r1.protocol import ModelNames, format_errors

from aamc_sdk import Dataset, Query, get_plugin_manager
from aamc_sdk.config import ServingSettings
from aamc_sdk.errors import DataError, PoolError
from aamc_sdk.routing import default_pool
from aamc_sdk.serving import make_services
from aamc_sdk.types import ModelSpec, Pool

MODELS = [{"name": "gpt-4", "cost": 30.0, "latency": 0.5}, {"name": "mistral-7b", "cost": 0.5, "latency": 0.1}]
RECORD: Mapping[str, Any] = {
    "query": "What is the capital of France?",
    "query_type": "factual",
    "candidate_models": MODELS,
    "ground_truth": "Paris",
    "optimal_model": "mistral-7b",
    "reasoning": "Simple factual query, cheaper model sufficient",
}
SAMPLE = Path(__file__).parents[4] / "examples" / "router_r1" / "sample_routing_data.json"


def test_the_published_example_becomes_a_well_formed_demonstration() -> None:
    task = parse_record(RECORD)
    assert task.golds == ["Paris"]
    assert task.kind == "factual"
    assert [(spec.name, spec.prices.output, spec.latency.total_ms) for spec in task.specs] == [("gpt-4", 30.0, 500.0), ("mistral-7b", 0.5, 100.0)]
    segments = task.demonstration()
    assert [segment.by_policy for segment in segments] == [True, False, True]
    assert segments[0].text.startswith("<think> Simple factual query")
    assert "mistral-7b: What is the capital of France?" in segments[0].text
    assert format_errors(segments, ModelNames(["gpt-4", "mistral-7b"])) == ()


def test_a_record_without_an_optimal_model_is_a_question_only() -> None:
    record = {key: value for key, value in RECORD.items() if key not in ("optimal_model", "reasoning")}
    assert parse_record(record).demonstration() == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimal_model": "mistral"}, "'mistral' is not one of 'candidate_models' - did you mean 'mistral-7b'?"),
        ({"candidate_models": []}, "at least one model"),
        ({"candidate_models": [MODELS[0], MODELS[0]]}, "names 'gpt-4' twice"),
        ({"candidate_models": [{"name": "a", "cost": -1, "latency": 0}]}, "'cost' of model 'a' must be a number from 0"),
        ({"candidate_models": [{"name": "a", "cost": None, "latency": 0}]}, "'cost' of model 'a' must be a number, not null"),
        ({"candidate_models": [{"name": "a", "latency": 0}]}, "has no 'cost'"),
        ({"candidate_models": [{"name": "a", "cost": 1, "latency": 0, "prices": {"input": 1}}]}, "'prices' of model 'a' must be an object"),
        ({"candidate_models": [{"name": "a", "cost": 1, "latency": 0, "prices": {"input": 1, "output": -1}}]}, "'output' of 'prices' of model 'a'"),
        ({"reasoning": "I <search> first"}, "the demonstration breaks the protocol: "),
        ({"ground_truth": "x </answer>"}, "the demonstration breaks the protocol: "),
        ({"ground_truth": ""}, "'ground_truth' must be a text or a list of texts"),
        ({"ground_truth": []}, "'ground_truth' must be a text or a list of texts"),
        ({"query": 3}, "'query' must be a text"),
        ({"optimal": "gpt-4"}, "a record has no key 'optimal'"),
        ({"steps": [{"thinking": "t", "model": "gpt-4", "query": "q"}]}, "has no 'reply'"),
        ({"steps": "none"}, "'steps' must be a list"),
    ],
)
def test_a_bad_value_is_named(change: Mapping[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_record({**RECORD, **change})
    assert message.split(" - ")[0] in str(caught.value)


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_a_broken_record_is_named_by_its_line(tmp_path: Path, suffix: str) -> None:
    lines = [json.dumps(RECORD), json.dumps(RECORD), json.dumps({**RECORD, "ground_truth": None})]
    file = tmp_path / f"records{suffix}"
    file.write_text("\n".join(lines) if suffix == ".jsonl" else "[\n" + ",\n".join(lines) + "\n]")
    with pytest.raises(DataError, match=r"line 3: 'ground_truth'" if suffix == ".jsonl" else r"line 4: 'ground_truth'"):
        read_records(str(file))


def test_a_line_that_is_no_json_is_named(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    file.write_text(json.dumps(RECORD) + "\n{\n")
    with pytest.raises(DataError, match="line 2"):
        read_records(str(file))


def test_the_dataset_keeps_the_tasks_with_their_rows() -> None:
    services = make_services(default_pool(), get_plugin_manager(), ServingSettings(preset="full", seed=0))
    dataset = RoutingRecords(RoutingRecords.Config(), services).read(str(SAMPLE))
    assert isinstance(dataset, RoutingDataset)
    taken = dataset.take(np.array([3, 0], np.intp))
    assert [task.question for task in taken.tasks] == [query.text for query in taken.queries]
    names = ModelNames([spec.name for spec in dataset.tasks[0].specs])
    assert all(format_errors(task.demonstration(), names) == () for task in dataset.tasks)
    assert max(len(task.consultations) for task in dataset.tasks) == 2


def test_questions_need_a_model_beside_the_policy():
    questions = Dataset([Query("Who wrote Emma?")], references=["Jane Austen"])
    pool = Pool([ModelSpec("policy"), ModelSpec("small")])
    assert [spec.name for spec in tasks_of(questions, pool, ["policy"])[0].specs] == ["small"]
    with pytest.raises(PoolError, match="no model to consult"):
        tasks_of(questions, Pool([ModelSpec("policy")]), ["policy"])


def test_a_model_may_have_other_prices_for_prompts_than_for_answers() -> None:
    task = parse_record({**RECORD, "candidate_models": [MODELS[0], {**MODELS[1], "prices": {"input": 0.25, "output": 0.5}}]})
    assert [(spec.prices.input, spec.prices.output) for spec in task.specs] == [(30.0, 30.0), (0.25, 0.5)]


def test_the_policy_is_not_consulted_in_records_either() -> None:
    pool, records = Pool([ModelSpec("policy")]), as_dataset([parse_record(RECORD)], "records.jsonl")
    (task,) = tasks_of(records, pool, ["gpt-4"])
    assert [spec.name for spec in task.specs] == ["mistral-7b"]
    assert task.demonstration()
    (task,) = tasks_of(records, pool, ["mistral-7b"])
    assert not task.demonstration()
    with pytest.raises(PoolError, match="no model to consult besides the policy"):
        tasks_of(records, pool, ["gpt-4", "mistral-7b"])
