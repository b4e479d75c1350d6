"""The training page's commands, its scripts, and the data between them."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from aamc_router_r1.data import read_records
from aamc_router_r1.world import FactWorld
from tiny_model import make_tiny_policy

from aamc_sdk.testing import run_command

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs" / "how-to" / "train-router-r1.md").read_text(encoding="utf-8")
TITLES = ["ivanhoe", "dracula", "walden", "ulysses", "candide", "faust", "hamlet", "utopia", "kim", "nostromo", "vathek", "germinal", "herzog"]
QUESTIONS = {"nq": [("who wrote emma", "Jane Austen"), *((f"who wrote {title}", "someone else") for title in TITLES)], "hotpotqa": [("when", "1815")]}
POOL = """
candidates:
- {name: large, description: Knows all., prices: {input: 3, output: 9}, latency: {service_ms: 900}, endpoint: {provider: echo}}
- {name: small, prices: {input: 1, output: 1}, latency: {service_ms: 100}, endpoint: {provider: echo}}
"""
TINY = "model=model rounds=1 turn_tokens=6 batch_size=2 group_size=2 micro_batch_size=2 steps=1 validation_questions=2"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a pool and with the questions that the page's first command would download."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pool.yaml").write_text(POOL)
    for name, rows in QUESTIONS.items():
        file = tmp_path / "data" / "questions" / name / "train.jsonl"
        file.parent.mkdir(parents=True)
        file.write_text("".join(json.dumps({"id": "0", "question": text, "golden_answers": [gold]}) + "\n" for text, gold in rows))
    return tmp_path


def prepare(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "prepare_training_data.py"), *arguments], capture_output=True, text=True, check=False
    )


def test_the_pages_commands_train_a_policy_that_is_asked(folder: Path) -> None:
    (block,) = re.findall(r"```console\n(aamc data fetch .*?)```", PAGE, flags=re.DOTALL)
    _, preparing, training, asking = (shlex.split(line)[1:] for line in block.splitlines())
    prepared = prepare(*preparing[1:])
    assert prepared.returncode == 0, prepared.stderr
    assert [task.golds for task in read_records("data/router_r1.jsonl")] == [[gold] for rows in QUESTIONS.values() for _, gold in rows]
    assert {
        (spec.name, spec.prices.input, spec.prices.output) for task in read_records("data/router_r1.jsonl") for spec in task.specs if spec.prices
    } == {
        ("large", 3.0, 9.0),
        ("small", 1.0, 1.0),
    }
    make_tiny_policy(folder / "model", FactWorld(0), width=16)
    smaller = [part for option in TINY.split() for part in ("--set", f"orchestrator.{option}")]
    status, _, errors = run_command(*training, *smaller, "--device", "cpu")
    assert status == 0, errors
    status, out, errors = run_command(*asking, "--json")
    assert status in (0, 1), errors  # such a policy hardly answers
    assert json.loads(out)["steps"][0]["candidate"] == "router-r1"


def test_the_cheapest_right_model_is_demonstrated(folder: Path) -> None:
    quality = {"who wrote emma": (1.0, 1.0), "who wrote ivanhoe": (1.0, 0.0), "when": (0.0, 0.0)}
    rows = [
        {"query": text, "outcomes": {name: {"quality": value, "cost_usd": 0.1} for name, value in zip(("large", "small"), values, strict=True)}}
        for text, values in quality.items()
    ]
    (folder / "outcomes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = [f"{name}:data/questions/{name}/train.jsonl" for name in QUESTIONS]
    prepared = prepare(*files, "--pool", "pool.yaml", "--out", "records.jsonl", "--outcomes", "outcomes:outcomes.jsonl")
    assert "wrote 15 records to records.jsonl, 2 with an optimal model" in prepared.stderr
    shown = {task.question: [step.model for step in task.consultations] for task in read_records("records.jsonl") if task.consultations}
    assert shown == {"who wrote emma": ["small"], "who wrote ivanhoe": ["large"]}
    again = prepare(*files, "--pool", "pool.yaml", "--out", "one.jsonl", "--rows", "1")
    assert again.returncode == 0
    assert len(read_records("one.jsonl")) == 2  # one of each file


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nq:nowhere.jsonl", "--pool", "pool.yaml"), "nowhere.jsonl"),
        (("nq:data/questions/nq/train.jsonl", "--pool", "cheap.yaml"), "'free' needs prices and a latency"),
    ],
)
def test_what_cannot_be_prepared_is_one_line(arguments: tuple[str, ...], message: str, folder: Path) -> None:
    (folder / "cheap.yaml").write_text("candidates: [{name: free}]")
    prepared = prepare(*arguments, "--out", "records.jsonl")
    assert prepared.returncode == 1
    assert prepared.stderr.startswith("error: ")
    assert message in prepared.stderr
    assert not Path("records.jsonl").exists()


def test_an_output_that_cannot_be_written_is_one_line(folder: Path) -> None:
    prepared = prepare("nq:data/questions/nq/train.jsonl", "--pool", "pool.yaml", "--out", "data")
    assert prepared.returncode == 1
    assert prepared.stderr == "error: cannot write data: it is a folder; name a file in it\n"


def test_the_gpu_script_trains_as_the_page_says_and_resumes(folder: Path) -> None:
    (options,) = re.findall(r"`scripts/train_router_r1_gpu.sh (.*?)`", PAGE)
    (folder / "aamc").write_text('#!/bin/sh\necho "$@"\n')
    (folder / "aamc").chmod(0o755)
    (folder / "nvidia-smi").write_text("#!/bin/sh\nprintf 'GPU 0\\nGPU 1\\nGPU 2\\n'\n")
    (folder / "nvidia-smi").chmod(0o755)
    script = ["bash", str(ROOT / "scripts" / "train_router_r1_gpu.sh"), *shlex.split(options), "--seed", "1"]
    environment = {**os.environ, "PATH": os.pathsep.join((str(folder), os.environ["PATH"]))}
    first = subprocess.run(script, env=environment, capture_output=True, text=True, check=True).stdout
    assert first.startswith(
        "train --orchestrator router-r1 --dataset router-r1:data/router_r1.jsonl --pool pool.yaml --out checkpoints/router_r1 "
        "--set orchestrator.num_epochs=10 --set orchestrator.batch_size=32 --set orchestrator.processes=2 "
    )
    assert first.endswith("--seed 1\n")
    (folder / "checkpoints" / "router_r1").mkdir(parents=True)
    again = subprocess.run(script, env=environment, capture_output=True, text=True, check=True)
    assert again.stdout == "train --resume checkpoints/router_r1\n"
    assert again.stderr == "checkpoints/router_r1 exists: resuming it with its own options, not with those given here\n"
