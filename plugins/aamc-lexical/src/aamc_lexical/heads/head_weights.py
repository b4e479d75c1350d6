"""Trained heads as arrays, evaluated in numpy, and linear heads: a logistic regression for each task that has labels.

Each task with labels has a head: complexity (a sigmoid), category (a softmax), tool use (a sigmoid) and, in a network, the quality of
each known candidate (a sigmoid each). All heads share one hidden layer; without it they read the embedding.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_lexical.heads.targets import UNLABELLED, Targets
from aamc_sdk.types import Floats, lazy_property, sigmoid

INVERSE_PENALTY = 0.03
"""scikit-learn's ``C``: the weight of the summed loss against half the squared coefficients, for embeddings of unit variance."""
ABSENT_LOGIT = -30.0
"""The logit of a category without rows."""
MAX_STEPS = 1000
TASKS = ("complexity", "category", "tool_use", "quality")


@attrs.frozen(eq=False)
class HeadOutputs:
    """The outputs of the heads for B texts; NaN, or no column, for a head without training.

    Attributes:
        complexity: ``[B]``.
        categories: ``[B, C]``.
        tool_use: ``[B]``.
        quality: ``[B, M]`` or None.
    """

    complexity: Floats
    categories: Floats
    tool_use: Floats
    quality: Floats | None


@attrs.frozen(eq=False, slots=False)
class HeadWeights:
    """Heads as arrays ``TASK.weight`` and ``TASK.bias``; a network also has ``hidden.weight`` and ``hidden.bias``."""

    arrays: Mapping[str, NDArray[np.float32]]

    @property
    def width(self) -> int:
        """The width of the embedding."""
        first = "hidden.weight" if "hidden.weight" in self.arrays else next(name for name in self.arrays if name.endswith(".weight"))
        return int(self.arrays[first].shape[1])

    def __call__(self, embedding: Floats) -> HeadOutputs:
        """Evaluate the heads on ``[B, D]`` embeddings."""
        unknown = np.full(len(embedding), np.nan)
        if not self.arrays:
            return HeadOutputs(unknown, np.empty((len(embedding), 0)), unknown, None)
        hidden = embedding
        if "hidden.weight" in self.arrays:
            hidden = np.maximum(embedding.dot(self.arrays["hidden.weight"].T) + self.arrays["hidden.bias"], 0.0)
        columns, weights, biases = self._together
        logits = (hidden.dot(weights) + biases).astype(np.float64)
        yes = sigmoid(logits)
        return HeadOutputs(
            complexity=yes[:, columns["complexity"]][:, 0] if "complexity" in columns else unknown,
            categories=softmax(logits[:, columns["category"]]) if "category" in columns else np.empty((len(embedding), 0)),
            tool_use=yes[:, columns["tool_use"]][:, 0] if "tool_use" in columns else unknown,
            quality=yes[:, columns["quality"]] if "quality" in columns else None,
        )

    @lazy_property
    def _together(self) -> tuple[dict[str, slice], Floats, Floats]:
        """The columns of each head, and the weights ``[H, K]`` and biases ``[K]`` of all heads for a single product."""
        tasks = [task for task in TASKS if f"{task}.weight" in self.arrays]
        ends = np.cumsum([0, *(len(self.arrays[f"{task}.bias"]) for task in tasks)])
        columns = {task: slice(*ends[place : place + 2]) for place, task in enumerate(tasks)}
        weights, biases = (np.concatenate([self.arrays[f"{task}.{kind}"] for task in tasks]) for kind in ("weight", "bias"))
        return columns, weights.T, biases


def softmax(logits: Floats) -> Floats:
    """Return the probabilities ``[B, C]`` of logits ``[B, C]``."""
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


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
