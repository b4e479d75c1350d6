"""What the parts of a run were trained on: enough to know its questions again, without their texts."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_experiments.data.near_duplicates import SIMILAR, Signatures, Sketches, algorithm, find_boilerplate, likely_pairs
from aamc_sdk.errors import CheckpointError
from aamc_sdk.storage import read_arrays, write_arrays
from aamc_sdk.types import text_hash

logger = logging.getLogger(__name__)
FOLDER = "seals"
"""Where a run keeps its seals, each under the hash of its content."""


@attrs.frozen(eq=False)
class TrainingFingerprint:
    """The questions of N rows that were trained on, early stopping and other choices included.

    Attributes:
        questions: The SHA-256 of each, ``[N]``.
        signatures: What near-duplicates are found by.
        boilerplate: Hashes of what many of them share, which is no question's own.
        algorithm: What made the signatures; others cannot be compared with them.
    """

    questions: NDArray[np.str_]
    signatures: Signatures
    boilerplate: frozenset[int]
    algorithm: str

    @classmethod
    def of(cls, questions: Sequence[str]) -> TrainingFingerprint:
        """TrainingFingerprint questions, in whatever order they come."""
        unique = sorted(set(questions))
        boilerplate = find_boilerplate(unique)
        signatures = Sketches.of(unique, boilerplate).signatures()
        return cls(np.array([text_hash(each) for each in unique]), signatures, boilerplate, algorithm())

    def holds(self, questions: Sequence[str]) -> NDArray[np.bool_]:
        """Return which questions were trained on, or a near-duplicate of them by the estimated similarity, ``[Q]``."""
        found = np.isin([text_hash(each) for each in questions], self.questions)
        if self.algorithm != algorithm():
            logger.warning("near-duplicates of trained rows are not found, only the same questions: %s made the seal", self.algorithm)
            return found
        signatures = Sketches.of(questions, self.boilerplate).signatures()
        found[likely_pairs(signatures, self.signatures, SIMILAR)[:, 0]] = True
        return found

    def write(self, run: Path) -> str:
        """Write the seal into a run's folder and return its name, the SHA-256 of what it holds."""
        arrays = {
            "questions": self.questions,
            "signatures": self.signatures,
            "boilerplate": np.array(sorted(self.boilerplate), dtype=np.uint64),
            "algorithm": np.array(self.algorithm),
        }
        name = _hash(arrays)
        write_arrays(_path(run, name), arrays)
        return name

    @classmethod
    def read(cls, run: Path, name: str) -> TrainingFingerprint:
        """Read a run's seal.

        Raises:
            CheckpointError: It is missing, damaged, or not what was sealed.
        """
        arrays = read_arrays(_path(run, name))
        if _hash(arrays) != name:
            raise CheckpointError(f"{_path(run, name)} was changed: it no longer tells what {run} was trained on; train again")
        return cls(arrays["questions"], arrays["signatures"], frozenset(arrays["boilerplate"].tolist()), str(arrays["algorithm"]))


def _path(run: Path, name: str) -> Path:
    return run / FOLDER / f"{name}.npz"


def _hash(arrays: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        values = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {values.dtype.str} {values.shape} ".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()
