"""Settings of a run's folder, and the link ``runs/latest``."""

from pathlib import Path

import pytest
from aamc_experiments.run_folder import RunFolder, point_latest

from aamc_sdk.errors import CheckpointError
from aamc_sdk.storage import write_yaml


def test_a_damaged_preference_names_the_run(tmp_path) -> None:
    settings = "{router: greedy, preference: '1,-1,0'}"
    (tmp_path / "run.yaml").write_text(f"schema: 1\nsettings: {settings}\nrouter: greedy\ngoal: run\nversions: {{}}\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"run\.yaml cannot be used: the weights of a preference"):
        _ = RunFolder.open(tmp_path).settings


def test_a_run_elsewhere_does_not_take_the_place_of_the_latest(tmp_path) -> None:
    runs = tmp_path / "runs"
    for name in ("runs/one", "scratch", "other"):
        (tmp_path / name).mkdir(parents=True)
    assert point_latest(tmp_path / "scratch", runs)  # there is no other
    assert point_latest(tmp_path / "scratch", runs)  # again
    assert not point_latest(tmp_path / "other", runs)
    assert (runs / "latest").resolve() == tmp_path / "scratch"
    assert point_latest(runs / "one", runs)
    assert not point_latest(tmp_path / "scratch", runs)
    assert (runs / "latest").resolve() == runs / "one"


def test_latest_names_the_newest_run(tmp_path) -> None:
    runs = tmp_path / "runs"
    for name in ("a", "b"):
        (runs / name).mkdir(parents=True)
        point_latest(runs / name, runs)
        assert (runs / "latest").resolve() == runs / name


def test_a_run_without_splits_is_refused_where_they_are_compared(tmp_path: Path) -> None:
    write_yaml(tmp_path / "run.yaml", {"schema": 1, "settings": {}, "router": "ppo", "goal": "routing", "versions": {}})
    with pytest.raises(CheckpointError, match=r"run\.yaml is damaged: it lacks splits; restore the file, or train again"):
        _ = RunFolder(tmp_path).splits
