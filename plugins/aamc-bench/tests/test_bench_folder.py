from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import pytest
from aamc_bench.benchmark import open_experiment

from aamc_sdk.errors import CheckpointError, Interrupted, OutputError

NOTHING = {"size": None, "names": ()}


def options_of(size: int | None = None, names: tuple[str, ...] = ()) -> Mapping[str, Any]:
    return {"size": size or 3, "names": names or ("a",)}


def test_an_experiment_goes_on_as_it_was_begun(tmp_path: Path) -> None:
    with open_experiment("bench x", tmp_path / "new", None, {"size": 7}, options_of) as (_, options):
        assert options == {"size": 7, "names": ["a"]}
    with open_experiment("bench x", None, tmp_path / "new", NOTHING, options_of) as (_, again):
        assert again == options


def test_the_same_options_go_on_in_the_same_folder(tmp_path: Path) -> None:
    for _ in range(2):
        with open_experiment("bench x", tmp_path, None, {"size": 7}, options_of) as (folder, _):
            (folder / "result").touch()


def test_other_options_are_refused(tmp_path: Path) -> None:
    with open_experiment("bench x", tmp_path, None, {"size": 7}, options_of):
        pass
    with pytest.raises(OutputError, match="was begun with other options"), open_experiment("bench x", tmp_path, None, {"size": 8}, options_of):
        pass
    with pytest.raises(click.UsageError, match="leave the other options out"), open_experiment("bench x", None, tmp_path, {"size": 7}, options_of):
        pass


def test_what_is_no_experiment_is_not_gone_on_with(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="begin one with: aamc bench x"), open_experiment("bench x", None, tmp_path, NOTHING, options_of):
        pass
    (tmp_path / "mine").touch()
    with pytest.raises(OutputError, match="is not empty"), open_experiment("bench x", tmp_path, None, NOTHING, options_of):
        pass


def test_another_commands_folder_is_named_as_such(tmp_path: Path) -> None:
    with open_experiment("bench x", tmp_path, None, NOTHING, options_of):
        pass
    words = f"resume it with: aamc bench x --resume {tmp_path}"
    with pytest.raises(CheckpointError, match=words), open_experiment("bench y", None, tmp_path, NOTHING, options_of):
        pass


@pytest.mark.parametrize("content", ["# nothing", "command: bench x", "command: bench x\noptions: 5", "schema: 2\ncommand: bench x\noptions: {}"])
def test_an_experiments_file_that_is_damaged_or_another_versions_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "experiment.yaml").write_text(content)
    words = "experiment.yaml is damaged, or of another version; begin anew with: aamc bench x"
    with pytest.raises(CheckpointError, match=words), open_experiment("bench x", None, tmp_path, NOTHING, options_of):
        pass


def test_options_that_were_changed_are_refused(tmp_path: Path) -> None:
    with open_experiment("bench x", tmp_path, None, {"size": 7}, options_of):
        pass
    file = tmp_path / "experiment.yaml"
    file.write_text(file.read_text().replace("size: 7", "size: x"))
    words = "experiment.yaml was changed after it was written; restore its options, or begin anew with: aamc bench x"
    with pytest.raises(CheckpointError, match=words), open_experiment("bench x", None, tmp_path, NOTHING, options_of):
        pass


def test_an_interruption_says_how_to_go_on(tmp_path: Path) -> None:
    words = f"resume it with: aamc bench x --resume {tmp_path}"
    with pytest.raises(Interrupted, match=words), open_experiment("bench x", tmp_path, None, NOTHING, options_of):
        raise KeyboardInterrupt


def test_two_at_once_are_kept_apart(tmp_path: Path) -> None:
    with (
        open_experiment("bench x", tmp_path, None, NOTHING, options_of),
        pytest.raises(OutputError, match="another process is writing"),
        open_experiment("bench x", tmp_path, None, NOTHING, options_of),
    ):
        pass
