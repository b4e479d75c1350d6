"""Cross-validation: folds of training rows, and weights of a blend of predictions that were made out of fold.

Each row is predicted by functions that were fitted without its question and without near-duplicates of it. The weights minimise the squared
error ("stacking": Wolpert 1992, Breiman 1996).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.types import Dataset, Floats, normalized_text

SUM_TO_ONE = 1e3
"""Weight of the constraint that the weights sum to one, in roots of the number of cells."""


@attrs.frozen(eq=False)
class Questions:
    """The questions of N rows.

    Attributes:
        number: The number of each row's question, ``[N]``; equal for spellings of one question.
        group: The number of each row's group of near-duplicate questions, ``[N]``; by default its question.
    """

    number: NDArray[np.intp]
    group: NDArray[np.intp] = attrs.field(default=attrs.Factory(lambda self: self.number, takes_self=True))

    @classmethod
    def of(cls, dataset: Dataset) -> Questions:
        """Return the questions of a dataset."""
        number = numbered([normalized_text(query.text) for query in dataset.queries])
        return cls(number) if dataset.question_groups is None else cls(number, dataset.question_groups)

    def take(self, rows: NDArray[np.intp]) -> Questions:
        """Return the questions of some rows."""
        return Questions(self.number[rows], self.group[rows])


def numbered(values: Sequence[Hashable]) -> NDArray[np.intp]:
    """Return the number of each value, in the order of first occurrence, ``[N]``."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.intp)


def fold_of(questions: Questions, folds: int, seed: int) -> NDArray[np.intp]:
    """Return each row's fold, ``[N]``: a group's rows share that of its first row, so folds differ in size if many questions are near-duplicates."""
    number = numbered(questions.number.tolist())
    place = np.random.default_rng(seed).permutation(number.max(initial=-1) + 1)
    return merge_groups(np.asarray(place[number] % folds, dtype=np.intp), questions)


def merge_groups(labels: NDArray[np.intp], questions: Questions) -> NDArray[np.intp]:
    """Return labels ``[N]`` in which all rows of a group have the label of its first row."""
    _, first, group = np.unique(questions.group, return_index=True, return_inverse=True)
    return np.asarray(labels[first][group.ravel()])


def stacking_weights(cells: Floats, target: Floats, blends: int = 1) -> Floats:
    """Return non-negative weights ``[blends, E]``, each row with sum one, of the least-squares blend.

    Args:
        cells: Out-of-fold predictions, ``[R, blends * E]``: E predictions of each of the blends that are added.
        target: The outcomes, ``[R]``.
        blends: Number of blends with weights of their own.
    """
    from scipy.optimize import nnls  # type: ignore[import-untyped]  # scipy ships no types

    penalty = SUM_TO_ONE * np.sqrt(max(len(cells), 1))
    sums = np.kron(np.eye(blends), np.ones(cells.shape[1] // blends))
    weights = nnls(np.vstack((cells, penalty * sums)), np.append(target, [penalty] * blends))[0].reshape(blends, -1)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
