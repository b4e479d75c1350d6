"""Fingerprints of training rows, which recognise trained questions and near-duplicates of them without their texts."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_experiments.data.near_duplicates import SIMILARITY, Signatures, Sketches, algorithm, find_boilerplate, likely_pairs
from aamc_sdk.errors import CheckpointError
from aamc_sdk.storage import array_hash, read_arrays, write_arrays
from aamc_sdk.types import text_hash

logger = logging.getLogger(__name__)
DECISION = "\0decision "
"""The beginning of the names of rows without text; a text has no NUL there."""
FOLDER = "fingerprints"
"""The folder of a run that holds its fingerprints, each named by the hash of its content."""


@attrs.frozen(eq=False)
class TrainingFingerprint:
    """The questions of N rows that training used, validation rows included.

    Rows without text, such as those of a log that keeps none, are known by :func:`decision_name`. Where training recorded none for such a row, any
    row without text may be that row, and counts as contained.

    Attributes:
        questions: The SHA-256 of each question or decision, ``[N]``.
        signatures: The questions' MinHash signatures, for finding near-duplicates.
        boilerplate: Hashes of runs of words that many questions share.
        algorithm: The algorithm of the signatures; only signatures of one algorithm can be compared.
    """

    questions: NDArray[np.str_]
    signatures: Signatures
    boilerplate: frozenset[int]
    algorithm: str

    @classmethod
    def of(cls, questions: Sequence[str]) -> TrainingFingerprint:
        """Return the fingerprint of questions; their order does not matter."""
        unique = sorted(set(questions))
        texts = [each for each in unique if not each.startswith(DECISION)]
        boilerplate = find_boilerplate(texts)
        signatures = Sketches.of(texts, boilerplate).signatures()
        return cls(np.array([text_hash(each) for each in unique]), signatures, boilerplate, algorithm())

    def is_of(self, questions: Sequence[str]) -> bool:
        """Return whether this is the fingerprint of just these questions, in any order."""
        return set(self.questions.tolist()) == {text_hash(each) for each in questions}

    def contains_equal(self, questions: Sequence[str]) -> NDArray[np.bool_]:
        """Return whether each question equals a training row, ``[Q]``."""
        found: NDArray[np.bool_] = np.isin([text_hash(each) for each in questions], self.questions)
        if text_hash("") in self.questions:
            found |= np.array([each.startswith(DECISION) for each in questions], dtype=bool)
        return found

    def contains(self, questions: Sequence[str]) -> NDArray[np.bool_]:
        """Return whether each question is a training row, or a near-duplicate of one by estimated similarity, ``[Q]``."""
        found = self.contains_equal(questions)
        if self.algorithm != algorithm():
            logger.warning("near-duplicates of training rows are not found, only equal questions: the fingerprint was made by %s", self.algorithm)
            return found
        texts = np.array([row for row, each in enumerate(questions) if not each.startswith(DECISION)], dtype=np.intp)
        signatures = Sketches.of([questions[row] for row in texts], self.boilerplate).signatures()
        found[texts[likely_pairs(signatures, self.signatures, SIMILARITY)[:, 0]]] = True
        return found

    def write(self, run: Path) -> str:
        """Write the fingerprint into a run's folder; return its name, the SHA-256 of its content."""
        arrays = {
            "questions": self.questions,
            "signatures": self.signatures,
            "boilerplate": np.array(sorted(self.boilerplate), dtype=np.uint64),
            "algorithm": np.array(self.algorithm),
        }
        name = array_hash(arrays)
        write_arrays(_path(run, name), arrays)
        return name

    @classmethod
    def read(cls, run: Path, name: str) -> TrainingFingerprint:
        """Read a fingerprint from a run's folder.

        Raises:
            CheckpointError: It is missing, damaged, or its content does not have the hash that it is named by.
        """
        arrays = read_arrays(_path(run, name))
        if array_hash(arrays) != name:
            raise CheckpointError(f"{_path(run, name)} was changed: it no longer shows what {run} was trained on; train again")
        return cls(arrays["questions"], arrays["signatures"], frozenset(arrays["boilerplate"].tolist()), str(arrays["algorithm"]))


def decision_name(decision_id: str) -> str:
    """Return the name of a row without text in fingerprints: no text begins like it."""
    return DECISION + decision_id


def _path(run: Path, name: str) -> Path:
    return run / FOLDER / f"{name}.npz"
