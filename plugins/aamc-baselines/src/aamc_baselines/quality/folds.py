"""Parts of the training rows, for predictions of rows that a function was not fitted to."""

from __future__ import annotations

import numpy as np

from aamc_baselines.quality.examples import Indices


def fold_of(question: Indices, folds: int, seed: int) -> Indices:
    """Return each row's part, ``[N]``: parts of about equal size, and rows of one question in one part."""
    _, number = np.unique(question, return_inverse=True)
    place = np.random.default_rng(seed).permutation(number.max(initial=-1) + 1)
    return np.asarray(place[number] % folds, dtype=np.intp)
