"""Linear heads: a logistic regression for each task that has labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aamc_lexical.heads.head_weights import HeadWeights
from aamc_lexical.heads.targets import UNLABELLED, Targets
from aamc_sdk.types import Floats

INVERSE_PENALTY = 0.03
"""scikit-learn's ``C``: the weight of the summed loss against half the squared coefficients, for embeddings of unit variance."""
ABSENT_LOGIT = -30.0
"""The logit of a category without rows."""
MAX_STEPS = 1000


def fit_heads(embedding: Floats, targets: Targets) -> HeadWeights:
    """Fit heads to N rows ``[N, D]``, one for each task with labels."""
    arrays: dict[str, NDArray[np.float32]] = {}
    for task, share in (("complexity", targets.complexity), ("tool_use", targets.tool_use)):
        known = np.isfinite(share)
        if known.any():
            arrays |= _named(task, *_of_shares(embedding[known], share[known]))
    if targets.category_names:
        known = targets.category != UNLABELLED
        arrays |= _named("category", *_of_categories(embedding[known], targets.category[known], len(targets.category_names)))
    return HeadWeights(arrays)


def _of_shares(embedding: Floats, share: Floats) -> tuple[Floats, Floats]:
    """Return weight and bias for shares from 0 to 1; a share of 0.3 is a positive example of weight 0.3 and a negative one of 0.7."""
    answers = np.repeat([1, 0], len(share))
    return _logistic(np.tile(embedding, (2, 1)), answers, np.concatenate((share, 1.0 - share)))


def _of_categories(embedding: Floats, category: NDArray[np.int64], count: int) -> tuple[Floats, Floats]:
    """Return weights ``[C, D]`` and biases ``[C]`` of a softmax; a category without rows is never predicted."""
    weights, biases = np.zeros((count, embedding.shape[1])), np.full(count, ABSENT_LOGIT)
    present = np.unique(category)
    biases[present] = 0.0
    if len(present) == 2:  # two categories need one logit
        weights[present[1:]], biases[present[1:]] = _logistic(embedding, category)
    elif len(present) > 2:
        weights[present], biases[present] = _logistic(embedding, category)
    return weights, biases


def _logistic(embedding: Floats, answers: NDArray[np.int64], counts: Floats | None = None) -> tuple[Floats, Floats]:
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]  # scikit-learn ships no types

    model = LogisticRegression(C=INVERSE_PENALTY, max_iter=MAX_STEPS).fit(embedding.astype(np.float64), answers, counts)
    return model.coef_, model.intercept_


def _named(task: str, weight: Floats, bias: Floats) -> dict[str, NDArray[np.float32]]:
    return {f"{task}.weight": weight.astype(np.float32), f"{task}.bias": bias.astype(np.float32)}
