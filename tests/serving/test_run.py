"""Names and folders of checkpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aamc_sdk.errors import CheckpointError, UnknownComponentError
from aamc_sdk.plugins import Plugins
from aamc_sdk.serving import Run, component_name, find_checkpoint
from aamc_sdk.storage import write_json, write_yaml


def test_a_folder_does_not_take_over_the_name_of_a_component(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("random", "lexical"):
        Path(name).mkdir()
        write_json(Path(name) / "component.json", {"schema": 1, "kind": "router", "name": "ppo"})
    Path("evaluated").mkdir()
    (Path("evaluated") / "run.yaml").write_text("{}")
    assert [find_checkpoint(name, "router") for name in ("random", "lexical", "evaluated")] == [None] * 3
    assert component_name("random", "router") == "random"
    assert find_checkpoint("./random", "router") == Path("random")
    assert component_name(str(tmp_path / "random"), "router") == "ppo"


def test_a_folder_without_a_slash_is_named_in_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    with pytest.raises(UnknownComponentError, match=r"no router is named 'mine'.*; a folder is given with a slash: \./mine"):
        Plugins().load("router", "mine")


def test_a_dataset_file_without_its_format_is_told_how_to_name_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.jsonl").touch()
    with pytest.raises(UnknownComponentError, match=r"'mine.jsonl'.*; a file is given with its format, such as outcomes:mine.jsonl$"):
        Plugins().load("dataset", "mine.jsonl")
    with pytest.raises(UnknownComponentError, match=r"\(there are: .*\)$"):
        Plugins().load("dataset", "absent")


@pytest.mark.parametrize("content", ["", "null", "[]", "[1]", '{"a": 1}', '{"a": {"preference": ["x"]}}', '{"a": {}}', '{"a": {"preference": [1]}}'])
def test_damaged_calibrations_are_named_with_the_remedy(tmp_path: Path, content: str) -> None:
    (tmp_path / "calibrations.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"calibrations\.json is damaged.*[:;] delete it, and calibrate again with aamc calibrate"):
        _ = Run(tmp_path).calibrated_preferences


def test_calibrations_that_cannot_be_read_are_not_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "calibrations.json").mkdir()
    with pytest.raises(CheckpointError, match=r"calibrations\.json cannot be read: Is a directory$"):
        _ = Run(tmp_path).calibrations


MEANS = {"small": [0.5, 0.001, None], "large": [0.75, 0.01, 900.0]}


@pytest.fixture
def measured(tmp_path: Path) -> Run:
    write_yaml(tmp_path / "pool.yaml", {"candidates": [{"name": name} for name in MEANS]})
    write_json(tmp_path / "candidates.json", MEANS)
    return Run(tmp_path)


def test_a_candidates_unknown_mean_is_nan(measured: Run) -> None:
    np.testing.assert_array_equal(measured.candidate_means, [[0.5, 0.001, np.nan], [0.75, 0.01, 900.0]])


IMPOSSIBLE = ["x", None, [], [0.5, 0.001], ["x", 0.1, 1.0], [True, 0.1, 1.0], [0.5, -1.0, 1.0], [0.5, 1e300, 1.0], [1.5, 0.1, 1.0]]


@pytest.mark.parametrize("figures", IMPOSSIBLE)
def test_candidates_with_impossible_figures_are_refused(measured: Run, figures: object) -> None:
    write_json(measured.folder / "candidates.json", MEANS | {"large": figures})
    with pytest.raises(CheckpointError, match=r"candidates\.json is damaged: .*; restore the file, or train again$"):
        _ = measured.candidate_means


CONTENT = {"schema": 1, "settings": {"router": "random"}, "router": "random", "goal": "comparison", "versions": {}}
CONTENT |= {"resolved": {"routers": {"random": {}}}}


@pytest.mark.parametrize(
    "changes", [{"settings": []}, {"router": None}, {"goal": 5}, {"versions": "x"}, {"resolved": None}, {"resolved": {"routers": [1]}}, {"splits": 5}]
)
def test_a_run_with_values_of_other_types_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    write_yaml(tmp_path / "run.yaml", CONTENT)
    assert Run(tmp_path).router_names == ["random"]
    write_yaml(tmp_path / "run.yaml", CONTENT | changes)
    with pytest.raises(CheckpointError, match=r"run\.yaml is damaged: .*; restore the file, or train again$"):
        _ = Run(tmp_path).router_names


@pytest.mark.parametrize("content", ["", "a: [b", "[]", "x"])
def test_a_damaged_run_says_what_to_do(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.yaml").write_text(content)
    with pytest.raises(CheckpointError, match=r"; restore the file, or train again$") as error:
        _ = Run(tmp_path).content
    assert str(error.value).count("; ") == 1, "one advice"
