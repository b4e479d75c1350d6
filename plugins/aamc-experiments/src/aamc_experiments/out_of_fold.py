"""Out-of-fold expectations: the quality and the lengths of answers that an estimator expected of its training rows before it saw their outcomes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aamc_experiments.data import split_hash
from aamc_experiments.setup import ExperimentSetup
from aamc_sdk.storage import read_arrays, write_arrays
from aamc_sdk.types import AnswerLengths, Floats

OUT_OF_FOLD = "out_of_fold.npz"
"""The file beside an estimator's checkpoint, which also holds the hash of the rows and the names of the candidates."""


def write_out_of_fold(folder: Path, quality: Floats, setup: ExperimentSetup, lengths: AnswerLengths | None = None) -> None:
    """Write the out-of-fold quality of the training rows, ``[Q, M]``, and the lengths of their answers, into an estimator's folder."""
    rows, candidates = split_hash(setup.splits["train"]), setup.services.pool.names
    known = {} if lengths is None else {"tokens": lengths.tokens, "typical_tokens": lengths.typical}
    write_arrays(folder / OUT_OF_FOLD, {"quality": quality, "split": np.array(rows), "candidates": np.array(candidates), **known})


def read_out_of_fold(folder: Path, setup: ExperimentSetup) -> Floats | None:
    """Read the out-of-fold quality of the training rows from an estimator's folder, ``[Q, M]``.

    Returns:
        None if the folder has none, or only that of other rows or other candidates.
    """
    saved = _read(folder, setup)
    return None if saved is None else saved["quality"]


def read_out_of_fold_lengths(folder: Path, setup: ExperimentSetup) -> AnswerLengths | None:
    """Read the out-of-fold lengths of the training rows' answers; None as for :func:`read_out_of_fold`, or without lengths."""
    saved = _read(folder, setup)
    return None if saved is None or "tokens" not in saved else AnswerLengths(saved["tokens"], saved["typical_tokens"])


def _read(folder: Path, setup: ExperimentSetup) -> dict[str, Floats] | None:
    """Return the arrays of the training rows, with the pool's candidates in the last dimension; None for other rows or candidates."""
    path = folder / OUT_OF_FOLD
    if not path.exists():
        return None
    saved, names = read_arrays(path), setup.services.pool.names
    candidates = saved.pop("candidates").tolist()
    if str(saved.pop("split")) != split_hash(setup.splits["train"]) or set(candidates) != set(names):
        return None
    columns = [candidates.index(name) for name in names]
    return {name: array[..., columns] for name, array in saved.items()}


def copy_out_of_fold(checkpoint: Path, folder: Path) -> None:
    """Copy the out-of-fold quality of a checkpoint, if it has any, into another estimator's folder."""
    if (checkpoint / OUT_OF_FOLD).exists():
        write_arrays(folder / OUT_OF_FOLD, read_arrays(checkpoint / OUT_OF_FOLD))
