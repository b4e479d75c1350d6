"""Published scores outside 0 to 1: clipped and counted, or refused by ``strict``."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from aamc_datasets.data_commands import convert, inspect
from aamc_datasets.published.embedllm import EmbedLLM
from aamc_datasets.published.llmrouter import LLMRouter
from aamc_datasets.published.routellm import RouteLLM
from aamc_datasets.published.routerarena import RouterArena
from aamc_datasets.published.routerbench import RouterBench
from aamc_datasets.published.score_table import CostOptions
from click.testing import CliRunner

from aamc_sdk import DatasetFormat, Services
from aamc_sdk.errors import DataError

PRICE = {"prices": {"small": {"input": 1, "output": 2}}}
ARENA = [
    {"question": f"q{n}", "llm_selected": "small", "evaluation_result": {"score": score, "inference_cost": 0.1}}
    for n, score in enumerate((-0.033, 0.5, 1.25))
]
TURN = {"model": "small", "turn": 1, "category": "writing"}
DIALOGUES = [{**TURN, "question_id": n, "turns": [f"q{n}"], "score": score} for n, score in enumerate((-1.5, 5, 12))]
LLMROUTER = [{"question": f"q{n}", "task_name": "t", "scores": {"small": score}} for n, score in enumerate((-0.033, 0.5, 1.25))]
SPECS = {"small": {"input_price": 1, "output_price": 2}}
FORMATS = {
    "routerarena": (RouterArena, {"rows.jsonl": "\n".join(map(json.dumps, ARENA))}),
    "routerbench": (RouterBench, {"rows.csv": "sample_id,prompt,eval_name,small,small|total_cost\na,q0,e,-0.033,1\nb,q1,e,0.5,1\nc,q2,e,1.25,1\n"}),
    "embedllm": (EmbedLLM, {"rows.csv": "question_id,question,model_id,label\n0,q0,small,-0.033\n1,q1,small,0.5\n2,q2,small,1.25\n"}),
    "llmrouter": (LLMRouter, {"outcomes.json": json.dumps(LLMROUTER), "llm_candidates.json": json.dumps(SPECS)}),
    "routellm": (RouteLLM, {"rows.csv": "prompt,small\nq0,-0.033\nq1,0.5\nq2,1.25\n"}),
    "mt_bench": (RouteLLM, {"mt_bench.jsonl": "\n".join(map(json.dumps, DIALOGUES))}),
}


def make_reader(name: str, folder: Path, services: Services, strict: bool) -> DatasetFormat:
    format_class, files = FORMATS[name]
    for file, content in files.items():
        (folder / file).write_text(content)
    reader: DatasetFormat = format_class(CostOptions(strict=strict, **PRICE), services)
    return reader


@pytest.mark.parametrize("name", FORMATS)
def test_scores_are_clipped_and_a_warning_counts_them(name: str, tmp_path: Path, services: Services, caplog: pytest.LogCaptureFixture) -> None:
    dataset = make_reader(name, tmp_path, services, strict=False).read(str(tmp_path))
    assert dataset.outcomes is not None
    np.testing.assert_array_equal([[0], [0.5], [1]], dataset.outcomes.quality)
    assert "2 of 3 scores are outside 0 to 1" in caplog.text
    assert "--set dataset.strict=true" in caplog.text


@pytest.mark.parametrize("name", FORMATS)
def test_strict_refuses_the_first_of_them_with_its_place(name: str, tmp_path: Path, services: Services) -> None:
    with pytest.raises(DataError, match=r"(line|row|entry) 1.* must be a number from \d+ to \d+, not -"):
        make_reader(name, tmp_path, services, strict=True).read(str(tmp_path))


def test_scores_within_the_range_need_no_warning(tmp_path: Path, services: Services, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps(ARENA[1]))
    RouterArena(CostOptions(), services).read(str(tmp_path))
    assert caplog.text == ""


def test_a_turn_that_the_judge_left_out_is_unknown(tmp_path: Path, services: Services, caplog: pytest.LogCaptureFixture) -> None:
    lines = [{**DIALOGUES[0], "score": -1}, DIALOGUES[1]]
    (tmp_path / "mt_bench.jsonl").write_text("\n".join(map(json.dumps, lines)))
    dataset = RouteLLM(CostOptions(**PRICE), services).read(str(tmp_path))
    assert dataset.outcomes is not None
    np.testing.assert_array_equal([[np.nan], [0.5]], dataset.outcomes.quality)
    assert caplog.text == ""
    with pytest.raises(DataError, match="line 1: score must be a number from 1 to 10, not -1"):
        RouteLLM(CostOptions(strict=True, **PRICE), services).read(str(tmp_path))


@pytest.mark.parametrize("command", [inspect, convert])
def test_strict_is_a_flag_of_the_commands_that_read_data(command: object, tmp_path: Path, services: Services) -> None:
    make_reader("routerarena", tmp_path, services, strict=False)
    arguments = [f"routerarena:{tmp_path}", *(["--to", str(tmp_path / "native")] if command is convert else [])]
    read = CliRunner().invoke(command, arguments)  # type: ignore[arg-type]  # a command
    assert read.exit_code == 0, read.output
    refused = CliRunner().invoke(command, [*arguments[:1], "--strict", *arguments[1:]])  # type: ignore[arg-type]  # a command
    assert isinstance(refused.exception, DataError)
    assert "not -0.033" in str(refused.exception)


def test_strict_changes_nothing_for_formats_that_always_are(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "rows.jsonl").write_text('{"query": "a", "outcomes": {"m": {"quality": 1, "cost_usd": 1}}}')
    read = CliRunner().invoke(inspect, ["--strict", f"outcomes:{tmp_path}"])
    assert read.exit_code == 0, read.output
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
