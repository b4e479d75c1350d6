"""Cross-validation: folds of training rows, and weights of a blend of predictions that were made out of fold.

Each row is predicted by functions that were fitted without its question. The weights minimise the squared error ("stacking": Wolpert 1992,
Breiman 1996).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from aamc_sdk.types import Floats

SUM_TO_ONE = 1e3
"""Weight of the constraint that the weights sum to one, in roots of the number of cells."""


def question_numbers(questions: Sequence[Hashable]) -> NDArray[np.intp]:
    """Return the number of each row's question, in the order of first occurrence, ``[N]``.

    Questions are normalised (:func:`aamc_sdk.types.normalized_text`), so that all spellings of one are equal.
    """
    numbers = {question: number for number, question in enumerate(dict.fromkeys(questions))}
    return np.array([numbers[question] for question in questions], dtype=np.intp)


def fold_of(questions: Sequence[Hashable], folds: int, seed: int) -> NDArray[np.intp]:
    """Return each row's fold, ``[N]``: folds of equal size in questions, and all rows of a question in one fold."""
    number = question_numbers(questions)
    place = np.random.default_rng(seed).permutation(number.max(initial=-1) + 1)
    return np.asarray(place[number] % folds, dtype=np.intp)


def merge_questions(groups: NDArray[np.intp], questions: Sequence[Hashable]) -> NDArray[np.intp]:
    """Return groups ``[N]`` in which all rows of a question have the group of its first row."""
    number = question_numbers(questions)
    _, first = np.unique(number, return_index=True)
    return np.asarray(groups[first][number])


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
