"""The heads on top of an embedding: what they learned is arrays, evaluated without torch.

A head for each task that has labels: complexity (a sigmoid), category (a softmax), tool use (a sigmoid) and, in a network, the
quality of each known candidate (a sigmoid each). All read the same hidden layer, or, without one, the embedding itself.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.arithmetic import sigmoid
from aamc_sdk.batch import Floats

TASKS = ("complexity", "category", "tool_use", "quality")


@attrs.frozen(eq=False)
class HeadOutputs:
    """What the heads say of B texts; NaN, or no column, where a head was not trained.

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


@attrs.frozen(eq=False)
class HeadWeights:
    """Trained heads as arrays: for each, ``TASK.weight`` and ``TASK.bias``; before them, in a network, ``hidden.weight`` and ``hidden.bias``."""

    arrays: Mapping[str, NDArray[np.float32]]

    @property
    def width(self) -> int:
        """The length of the embeddings that they read."""
        first = "hidden.weight" if "hidden.weight" in self.arrays else next(name for name in self.arrays if name.endswith(".weight"))
        return int(self.arrays[first].shape[1])

    def __call__(self, embedding: Floats) -> HeadOutputs:
        """Evaluate the heads on ``[B, D]`` embeddings."""
        hidden = np.maximum(self._linear("hidden", embedding), 0.0) if "hidden.weight" in self.arrays else embedding
        logits = {task: self._linear(task, hidden).astype(np.float64) for task in TASKS if f"{task}.weight" in self.arrays}
        unknown = np.full(len(embedding), np.nan)
        return HeadOutputs(
            complexity=sigmoid(logits["complexity"][:, 0]) if "complexity" in logits else unknown,
            categories=_softmax(logits["category"]) if "category" in logits else np.empty((len(embedding), 0)),
            tool_use=sigmoid(logits["tool_use"][:, 0]) if "tool_use" in logits else unknown,
            quality=sigmoid(logits["quality"]) if "quality" in logits else None,
        )

    def _linear(self, name: str, inputs: Floats) -> Floats:
        return np.asarray(inputs @ self.arrays[f"{name}.weight"].T + self.arrays[f"{name}.bias"])


def _softmax(logits: Floats) -> Floats:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
