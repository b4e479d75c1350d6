"""Out-of-fold expectations: the quality and the lengths of answers that an estimator expected of its training rows before it saw their outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from aamc_experiments.data import split_hash
from aamc_experiments.setup import ExperimentSetup
from aamc_sdk.interfaces import Estimator
from aamc_sdk.routing import build_request
from aamc_sdk.storage import read_arrays, write_arrays
from aamc_sdk.types import AnswerLengths, Dataset, Floats, Pool, RoutingRequest

OUT_OF_FOLD = "out_of_fold.npz"
"""The file with an estimator's checkpoint, which also holds the hash of the rows and the names of the candidates."""


@attrs.frozen(eq=False)
class OutOfFold:
    """The out-of-fold expectations of the training rows.

    Attributes:
        quality: The expected quality of each candidate, ``[Q, M]``; None if the estimator expects none.
        lengths: The expected lengths of answers; None if the estimator expects none.
    """

    quality: Floats | None = None
    lengths: AnswerLengths | None = None


def write_out_of_fold(folder: Path, quality: Floats, setup: ExperimentSetup, lengths: AnswerLengths | None) -> None:
    """Write the out-of-fold quality of the training rows, ``[Q, M]``, and the lengths of their answers, into an estimator's folder."""
    rows, candidates = split_hash(setup.splits["train"]), setup.services.pool.names
    known: dict[str, Any] = {}
    if lengths is not None:
        fixed = np.broadcast_to(lengths.fixed_latency, lengths.mean_tokens.shape)
        known = {"tokens": lengths.tokens, "typical_tokens": lengths.mean_tokens, "fixed_latency": fixed}
    write_arrays(folder / OUT_OF_FOLD, {"quality": quality, "split": np.array(rows), "candidates": np.array(candidates), **known})


def read_out_of_fold(folder: Path, setup: ExperimentSetup) -> OutOfFold | None:
    """Read the out-of-fold expectations of the training rows from an estimator's folder.

    Returns:
        None if the folder has none, or only those of other rows or other candidates.
    """
    path = folder / OUT_OF_FOLD
    if not path.exists():
        return None
    saved, names = read_arrays(path), setup.services.pool.names
    candidates = saved.pop("candidates").tolist()
    if str(saved.pop("split")) != split_hash(setup.splits["train"]) or set(candidates) != set(names):
        return None
    columns = [candidates.index(name) for name in names]
    known = {name: array[..., columns] for name, array in saved.items()}
    lengths = AnswerLengths(known["tokens"], known["typical_tokens"], known.get("fixed_latency", 0.0)) if "tokens" in known else None
    return OutOfFold(known["quality"], lengths)


def copy_out_of_fold(checkpoint: Path, folder: Path) -> None:
    """Copy the out-of-fold quality of a checkpoint, if it has any, into another estimator's folder."""
    if (checkpoint / OUT_OF_FOLD).exists():
        write_arrays(folder / OUT_OF_FOLD, read_arrays(checkpoint / OUT_OF_FOLD))


def split_requests(
    splits: Mapping[str, Dataset], pool: Pool, preference: Floats, estimator: Estimator | None, means: Floats, held_out: OutOfFold | None
) -> dict[str, RoutingRequest]:
    """Return the rows of splits as a router sees them; training rows have out-of-fold expectations.

    Args:
        splits: The rows by split.
        pool: The candidates.
        preference: The preference of all rows, ``[3]``.
        estimator: The estimator; None for none.
        means: The candidates' mean training quality, cost in USD and latency in ms, ``[M, 3]``.
        held_out: The out-of-fold expectations of the training rows; None for those that the trained estimator has of all rows.
    """
    found = {}
    for name, rows in splits.items():
        own = held_out if held_out is not None and name == "train" else OutOfFold()
        found[name] = build_request(
            rows.queries, pool, preference, estimator=estimator, candidate_means=means, quality=own.quality, lengths=own.lengths
        )
    return found
