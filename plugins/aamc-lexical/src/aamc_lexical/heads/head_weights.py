"""Trained heads as arrays, evaluated in numpy.

Each task with labels has a head: complexity (a sigmoid), category (a softmax), tool use (a sigmoid) and, in a network, the quality of
each known candidate (a sigmoid each). All heads share one hidden layer; without it they read the embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.types import Floats, sigmoid

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

    @cached_property
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
