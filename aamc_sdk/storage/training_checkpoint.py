"""What an interrupted training goes on from: its arrays, how far it was, and what it was made with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.errors import CheckpointError
from aamc_sdk.storage.files import read_arrays, to_json, write_arrays

CHECKPOINT = "checkpoint.npz"
"""The file, in the folder that a training is given."""
_ABOUT = "about"


@attrs.frozen(eq=False)
class UnfinishedTraining:
    """Where a training stood when its last checkpoint was left.

    Attributes:
        arrays: What it had learned, by name.
        done: How many of its rounds were done.
        curve: Their figures.
        path: The checkpoint, for messages.
    """

    arrays: dict[str, NDArray[Any]]
    done: int
    curve: list[dict[str, float]]
    path: Path


def leave_checkpoint(
    folder: Path | None, arrays: Mapping[str, NDArray[Any]], done: int, curve: list[dict[str, float]], made_for: Mapping[str, Any]
) -> None:
    """Write all that the next round depends on; nothing where there is no folder.

    Args:
        folder: Where to.
        arrays: What was learned.
        done: How many rounds are done.
        curve: Their figures.
        made_for: What whoever goes on must agree on, in JSON's own types.
    """
    if folder is not None:
        about = to_json({"done": done, "made_for": made_for, "curve": curve})
        write_arrays(folder / CHECKPOINT, {**arrays, _ABOUT: np.array(about)})


def find_interrupted(folder: Path | None, made_for: Mapping[str, Any]) -> UnfinishedTraining | None:
    """Return what :func:`leave_checkpoint` wrote last, or None where a training stopped before its first checkpoint.

    Raises:
        CheckpointError: It is damaged, or was made for something else.
    """
    path = None if folder is None else folder / CHECKPOINT
    if path is None or not path.exists():
        return None
    arrays = read_arrays(path)
    try:
        about = json.loads(str(arrays.pop(_ABOUT)))
        done, made, curve = int(about["done"]), about["made_for"], list(about["curve"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged ({error!r}); delete it and train again") from error
    for key, value in made_for.items():
        if made.get(key) != value:
            raise CheckpointError(f"{path} was made with other {key}: {made.get(key)!r} and not {value!r}; resume with the same or train anew")
    return UnfinishedTraining(arrays, done, curve, path)
