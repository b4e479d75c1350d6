"""A training of the graph network that was killed is resumed to the same result."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from taste_world import TasteWorld, WorldSettings

from aamc_sdk.cli import aamc
from aamc_sdk.errors import CheckpointError
from aamc_sdk.storage import read_json

OPTIONS = {"model": "graph", "steps": 6, "evaluate_every": 2, "hidden": 8, "learning_rate": 3e-3}
SETTINGS = [part for name, value in OPTIONS.items() for part in ("--set", f"router.{name}={value}")]
TRAIN = [
    "train",
    "--router",
    "gmtrouter",
    "--dataset",
    "interactions:train.jsonl",
    "--pool",
    "pool.yaml",
    "--seed",
    "3",
    "--device",
    "cpu",
    *SETTINGS,
]
KILLED_AT_THE_SECOND_CHECKPOINT = """
import os, signal, sys
from aamc_gmtrouter.graph import training
from aamc_sdk.cli import main

save, saved = training.save_training_checkpoint, []

def save_and_die(*arguments):
    save(*arguments)
    saved.append(arguments)
    if len(saved) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

training.save_training_checkpoint = save_and_die
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kill a training after four of six steps; return the folder that holds its data and its run."""
    folder = tmp_path_factory.mktemp("killed")
    world = TasteWorld.drawn(0, WorldSettings(models=4, users=40, comparisons=12))
    (folder / "train.jsonl").write_text("\n".join(json.dumps(world.document(user)) for user in world.training_users))
    (folder / "pool.yaml").write_text("candidates:\n" + "\n".join(f"  - {{name: model-{m}, description: trait {m}}}" for m in range(4)))
    command = [sys.executable, "-c", KILLED_AT_THE_SECOND_CHECKPOINT, *TRAIN, "--out", "run"]
    ended = subprocess.run(command, capture_output=True, check=False, cwd=folder)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert not list(folder.rglob("best.npz"))
    return folder


@pytest.fixture
def copied(killed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_killed_training_is_resumed_to_the_same_bits(copied: Path) -> None:
    for arguments in (["train", "--resume", "run"], [*TRAIN, "--out", "whole"]):
        result = CliRunner().invoke(aamc, arguments)
        assert result.exit_code == 0, result.output
    for name in ("best.npz", "last.npz"):
        (resumed,), (whole,) = (copied / "run").rglob(name), (copied / "whole").rglob(name)
        with np.load(resumed) as ours, np.load(whole) as theirs:
            assert set(ours) == set(theirs)
            assert all((ours[key] == theirs[key]).all() for key in theirs)
    (resumed,), (whole,) = (copied / "run").rglob("training.json"), (copied / "whole").rglob("training.json")
    assert read_json(resumed) == read_json(whole)
    assert [point["step"] for point in read_json(whole)["curve"]] == [0, 2, 4, 6]


def test_a_damaged_checkpoint_is_named(copied: Path) -> None:
    (checkpoint,) = copied.rglob("checkpoint.npz")
    with np.load(checkpoint) as arrays:
        kept = {key: values for key, values in arrays.items() if not key.startswith("network/output")}
    np.savez(checkpoint, **kept)
    result = CliRunner().invoke(aamc, ["train", "--resume", "run"])
    assert isinstance(result.exception, CheckpointError)
    assert "checkpoint.npz was changed after it was written" in str(result.exception)
