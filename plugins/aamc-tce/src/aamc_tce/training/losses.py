"""The multi-task loss of the heads in torch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from aamc_lexical.heads import UNLABELLED, Targets
from numpy.typing import NDArray
from torch.nn import functional


def multi_task_loss(logits: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor], weights: Mapping[str, float]) -> torch.Tensor:
    """Return the weighted sum of the tasks' losses over the known labels.

    Each loss is a cross entropy. With a soft label, such as a complexity of 0.3, its minimum is at that value.

    Args:
        logits: By task, ``[B, width]``.
        targets: By task: ``category [B]`` of indices, others ``[B, width]``, NaN where unknown.
        weights: The weight of each task.
    """
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
    """Return the targets by task in the form that the loss expects."""
    return {
        "complexity": targets.complexity[:, None].astype(np.float32),
        "category": targets.category,
        "tool_use": targets.tool_use[:, None].astype(np.float32),
        "quality": targets.quality.astype(np.float32),
    }
