"""Out-of-fold quality: the quality that an estimator expected of its training rows before it saw their outcomes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aamc_experiments.data import split_hash
from aamc_experiments.setup import ExperimentSetup
from aamc_sdk.storage import read_arrays, write_arrays
from aamc_sdk.types import Floats

OUT_OF_FOLD = "out_of_fold.npz"
"""The file beside an estimator's checkpoint, which also holds the hash of the rows and the names of the candidates."""


def write_out_of_fold(folder: Path, quality: Floats, setup: ExperimentSetup) -> None:
    """Write the out-of-fold quality of the training rows, ``[Q, M]``, into an estimator's folder."""
    rows, candidates = split_hash(setup.splits["train"]), setup.services.pool.names
    write_arrays(folder / OUT_OF_FOLD, {"quality": quality, "split": np.array(rows), "candidates": np.array(candidates)})


def read_out_of_fold(folder: Path, setup: ExperimentSetup) -> Floats | None:
    """Read the out-of-fold quality of the training rows from an estimator's folder, ``[Q, M]``.

    Returns:
        None if the folder has none, or only that of other rows or other candidates.
    """
    path = folder / OUT_OF_FOLD
    if not path.exists():
        return None
    saved, names = read_arrays(path), setup.services.pool.names
    candidates = saved["candidates"].tolist()
    if str(saved["split"]) != split_hash(setup.splits["train"]) or set(candidates) != set(names):
        return None
    return np.asarray(saved["quality"][:, [candidates.index(name) for name in names]])


def copy_out_of_fold(checkpoint: Path, folder: Path) -> None:
    """Copy the out-of-fold quality of a checkpoint, if it has any, into another estimator's folder."""
    if (checkpoint / OUT_OF_FOLD).exists():
        write_arrays(folder / OUT_OF_FOLD, read_arrays(checkpoint / OUT_OF_FOLD))
