"""Checkpoints of an unfinished training."""

import json

import numpy as np
import pytest

from aamc_sdk.errors import CheckpointError
from aamc_sdk.storage import load_training_checkpoint, read_arrays, save_training_checkpoint, write_arrays
from aamc_sdk.storage.training_checkpoint import CHECKPOINT

MADE_FOR = {"seed": 3, "pool": ["a", "b"]}


@pytest.fixture
def left(tmp_path):
    save_training_checkpoint(tmp_path, {"weights": np.arange(3.0)}, 2, [{"step": 1}, {"step": 2}], MADE_FOR)
    return tmp_path


def test_what_was_left_is_found(left) -> None:
    found = load_training_checkpoint(left, MADE_FOR)
    assert found is not None
    assert {name: array.tolist() for name, array in found.arrays.items()} == {"weights": [0.0, 1.0, 2.0]}
    assert (found.done, found.curve, found.path) == (2, [{"step": 1}, {"step": 2}], left / CHECKPOINT)


def test_before_the_first_checkpoint_there_is_nothing(tmp_path) -> None:
    assert load_training_checkpoint(tmp_path, MADE_FOR) is None
    assert load_training_checkpoint(None, MADE_FOR) is None


def test_without_a_folder_nothing_is_left(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_training_checkpoint(None, {}, 1, [], MADE_FOR)
    assert not list(tmp_path.iterdir())


def test_another_training_is_refused_with_what_differs(left) -> None:
    with pytest.raises(CheckpointError, match=r"made with other seed \(3, not 4\)"):
        load_training_checkpoint(left, MADE_FOR | {"seed": 4})


@pytest.mark.parametrize(
    ("options", "difference"), [({"a": 1, "b": 2, "c": 3}, "c: 4, not 3"), ({"a": 1, "b": 2}, "c: 4, not 'unset'"), ({"c": 4}, "a: 1, not 'unset'")]
)
def test_of_many_options_only_one_that_differs_is_named(tmp_path, options, difference) -> None:
    save_training_checkpoint(tmp_path, {}, 1, [], {"options": {"a": 1, "b": 2, "c": 4}})
    with pytest.raises(CheckpointError) as raised:
        load_training_checkpoint(tmp_path, {"options": options})
    advice = f"resume with the same options, or delete {tmp_path}, and resume: that training begins anew"
    assert str(raised.value) == f"{tmp_path / CHECKPOINT} was made with other options ({difference}); {advice}"


def test_a_damaged_checkpoint_says_how_to_resume(left) -> None:
    (left / CHECKPOINT).write_bytes((left / CHECKPOINT).read_bytes()[:100])
    with pytest.raises(CheckpointError, match=f"is damaged .*; delete {left}, and resume: that training begins anew$"):
        load_training_checkpoint(left, MADE_FOR)


@pytest.mark.parametrize("arrays", [{}, {"weights": np.arange(2.0)}, {"weights": np.full(3, np.nan)}, {"weights": np.array(["x"] * 3)}])
def test_other_arrays_than_the_saved_ones_are_refused(left, arrays) -> None:
    about = read_arrays(left / CHECKPOINT)["about"]
    write_arrays(left / CHECKPOINT, {**arrays, "about": about})
    with pytest.raises(CheckpointError, match="was changed after it was written"):
        load_training_checkpoint(left, MADE_FOR)


@pytest.mark.parametrize("change", [{"done": 1}, {"curve": []}])
def test_another_description_than_the_saved_one_is_refused(left, change) -> None:
    arrays = read_arrays(left / CHECKPOINT)
    about = json.loads(str(arrays.pop("about")))
    write_arrays(left / CHECKPOINT, {**arrays, "about": np.array(json.dumps({**about, **change}))})
    with pytest.raises(CheckpointError, match="was changed after it was written"):
        load_training_checkpoint(left, MADE_FOR)


@pytest.mark.parametrize("about", ["[]", "null", '{"done": "x"}', '{"done": 2, "made_for": 5, "curve": []}'])
def test_a_checkpoint_that_describes_nothing_is_refused(left, about) -> None:
    write_arrays(left / CHECKPOINT, {"weights": np.arange(3.0), "about": np.array(about)})
    with pytest.raises(CheckpointError, match="is damaged"):
        load_training_checkpoint(left, MADE_FOR)
