"""The heads on top of an embedding, and the loss that they share.

A head for each task that has labels: complexity (a sigmoid), category (a softmax), tool use (a sigmoid) and the
quality of each known candidate (a sigmoid each, the product of the query's hidden vector with the candidate's identity).
All read the same hidden layer. Training is in torch; what was learned is a set of arrays, evaluated by :class:`HeadWeights` without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.batch import Floats

if TYPE_CHECKING:
    import torch

    from aamc_tce.targets import Targets

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
    """Trained heads as arrays: ``hidden.weight``, ``hidden.bias`` and, for each head, ``TASK.weight`` and ``TASK.bias``."""

    arrays: Mapping[str, NDArray[np.float32]]

    def __call__(self, embedding: Floats) -> HeadOutputs:
        """Evaluate the heads on ``[B, D]`` embeddings."""
        hidden = np.maximum(self._linear("hidden", embedding), 0.0) if self.arrays else embedding
        logits = {task: self._linear(task, hidden).astype(np.float64) for task in TASKS if f"{task}.weight" in self.arrays}
        unknown = np.full(len(embedding), np.nan)
        return HeadOutputs(
            complexity=_sigmoid(logits["complexity"][:, 0]) if "complexity" in logits else unknown,
            categories=_softmax(logits["category"]) if "category" in logits else np.empty((len(embedding), 0)),
            tool_use=_sigmoid(logits["tool_use"][:, 0]) if "tool_use" in logits else unknown,
            quality=_sigmoid(logits["quality"]) if "quality" in logits else None,
        )

    def _linear(self, name: str, inputs: Floats) -> Floats:
        return np.asarray(inputs @ self.arrays[f"{name}.weight"].T + self.arrays[f"{name}.bias"])


def _sigmoid(logits: Floats) -> Floats:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)))


def _softmax(logits: Floats) -> Floats:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def multi_task_loss(logits: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor], weights: Mapping[str, float]) -> torch.Tensor:
    """Return the weighted sum of the tasks' losses; a missing label, or cell, counts for nothing.

    Each is a cross entropy: with a soft label, as a complexity of 0.3 or a quality of 0.8, it is least at that value.

    Args:
        logits: By task, ``[B, width]``.
        targets: By task: ``category [B]`` of indices, others ``[B, width]``, NaN where unknown.
        weights: By task: how much it counts.
    """
    from torch.nn import functional

    from aamc_tce.targets import UNLABELLED

    total = sum((logit.sum() * 0.0 for logit in logits.values()), start=next(iter(logits.values())).new_zeros(()))
    for task, logit in logits.items():
        target = targets[task]
        known = target != UNLABELLED if task == "category" else target.isfinite()
        if not known.any():
            continue
        if task == "category":
            loss = functional.cross_entropy(logit[known], target[known])
        else:
            loss = functional.binary_cross_entropy_with_logits(logit[known], target[known])
        total = total + weights[task] * loss
    return total


def as_arrays(targets: Targets) -> dict[str, NDArray[np.float32] | NDArray[np.int64]]:
    """Return targets as the loss takes them, by task."""
    return {
        "complexity": targets.complexity[:, None].astype(np.float32),
        "category": targets.category,
        "tool_use": targets.tool_use[:, None].astype(np.float32),
        "quality": targets.quality.astype(np.float32),
    }
