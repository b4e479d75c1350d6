"""Names and folders of checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest

from aamc_sdk.errors import CheckpointError, UnknownComponentError
from aamc_sdk.plugins import Plugins
from aamc_sdk.serving import Run, component_name, find_checkpoint
from aamc_sdk.storage import write_json


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


@pytest.mark.parametrize("content", ["", "null", "[1]", '{"a": 1}', '{"a": {"preference": ["x"]}}', '{"a": {}}'])
def test_damaged_calibrations_are_named_with_the_remedy(tmp_path: Path, content: str) -> None:
    (tmp_path / "calibrations.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"calibrations\.json is damaged: delete it, and calibrate again with aamc calibrate"):
        _ = Run(tmp_path).calibrated_preferences
