"""Checkpoints of an unfinished training: its arrays, progress and settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.errors import CheckpointError
from aamc_sdk.messages import checkpoint_errors
from aamc_sdk.storage.files import array_hash, json_hash, read_arrays, to_json, write_arrays

CHECKPOINT = "checkpoint.npz"
"""Name of the file in the folder of a training."""
_ABOUT = "about"


@attrs.frozen(eq=False)
class TrainingCheckpoint:
    """The state of a training at its last checkpoint.

    Attributes:
        arrays: Learned arrays by name.
        done: Number of finished rounds.
        curve: Metrics of each round.
        path: The checkpoint's path, for messages.
    """

    arrays: dict[str, NDArray[Any]]
    done: int
    curve: list[dict[str, float]]
    path: Path


def save_training_checkpoint(
    folder: Path | None, arrays: Mapping[str, NDArray[Any]], done: int, curve: list[dict[str, float]], made_for: Mapping[str, Any]
) -> None:
    """Write the state that the next round depends on, see :class:`TrainingCheckpoint`; without a folder write nothing.

    ``made_for`` are the settings that a resumed training must share, in JSON types.
    """
    if folder is not None:
        about = {"done": done, "made_for": made_for, "curve": curve}
        write_arrays(folder / CHECKPOINT, {**arrays, _ABOUT: np.array(to_json(about | {"sha256": _hash(about, arrays)}))})


def load_training_checkpoint(folder: Path | None, made_for: Mapping[str, Any]) -> TrainingCheckpoint | None:
    """Return the last checkpoint of a training; None if there is none.

    Raises:
        CheckpointError: The checkpoint is damaged, or was made with other settings.
    """
    path = None if folder is None else folder / CHECKPOINT
    if path is None or not path.exists():
        return None
    advice = f"delete {path.parent}, and resume: that training begins anew"
    arrays = read_arrays(path, advice)
    with checkpoint_errors(path, advice):
        about = json.loads(str(arrays.pop(_ABOUT)))
        done, made, curve = int(about["done"]), dict(about["made_for"]), list(about["curve"])
        saved = about.pop("sha256", None)  # version 0.1 wrote none
        intact = saved is None or saved == _hash(about, arrays)
    if not intact:
        raise CheckpointError(f"{path} was changed after it was written; {advice}")
    for key, value in made_for.items():
        if made.get(key) != value:
            raise CheckpointError(f"{path} was made with other {key} ({_difference(made.get(key), value)}); resume with the same {key}, or {advice}")
    return TrainingCheckpoint(arrays, done, curve, path)


def _difference(made: Any, wanted: Any) -> str:
    """Return two settings in words; of groups of settings, the first that differs."""
    if isinstance(made, Mapping) and isinstance(wanted, Mapping):
        key = next(key for key in {**wanted, **made} if made.get(key, "unset") != wanted.get(key, "unset"))
        return f"{key}: {_difference(made.get(key, 'unset'), wanted.get(key, 'unset'))}"
    return f"{made!r}, not {wanted!r}"


def _hash(about: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
    return json_hash({**about, "arrays": array_hash(arrays)})
