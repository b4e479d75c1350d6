"""Folds of training rows, so that each row is predicted by functions that were fitted without its question."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray


def question_numbers(questions: Sequence[Hashable]) -> NDArray[np.intp]:
    """Return the number of each row's question, in the order of first occurrence, ``[N]``.

    Args:
        questions: Each row's question, normalised, so that its spellings are equal; see :func:`aamc_sdk.types.question`.
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
