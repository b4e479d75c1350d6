"""The loss that the heads of the network share."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import numpy as np
import torch
from aamc_lexical.targets import UNLABELLED, Targets
from torch.nn import functional


@attrs.frozen(eq=False)
class Labels:
    """The targets of N rows as the loss takes them.

    Attributes:
        shares: What the sigmoids should say, task by task, ``[N, S]``; zero where unknown.
        known: One where there is a label and zero elsewhere, ``[N, S]``.
        category: Indices, ``[N]``; ``UNLABELLED`` where unknown.
    """

    shares: torch.Tensor
    known: torch.Tensor
    category: torch.Tensor

    @classmethod
    def of(cls, targets: Targets, sizes: Mapping[str, int], device: torch.device) -> Labels:
        """Take the labels of the tasks that have a head."""
        columns = {"complexity": targets.complexity[:, None], "tool_use": targets.tool_use[:, None], "quality": targets.quality}
        shares = np.concatenate([columns[task] for task in sigmoids(sizes)] or [np.empty((len(targets), 0))], axis=1)
        known = torch.as_tensor(np.isfinite(shares), dtype=torch.float32, device=device)
        return cls(
            torch.as_tensor(np.nan_to_num(shares), dtype=torch.float32, device=device), known, torch.as_tensor(targets.category, device=device)
        )

    def take(self, rows: torch.Tensor) -> Labels:
        """Return the labels of some rows."""
        return Labels(self.shares[rows], self.known[rows], self.category[rows])


def sigmoids(sizes: Mapping[str, int]) -> list[str]:
    """Return the tasks whose heads end in sigmoids, in their order; ``category`` ends in a softmax."""
    return [task for task in sizes if task != "category"]


class MultiTaskLoss:
    """The weighted sum of the tasks' losses; a missing label, or cell, counts for nothing.

    Each is the mean of a cross entropy: with a soft label, as a complexity of 0.3 or a quality of 0.8, it is least at that value.

    Args:
        sizes: Of each head.
        weights: By task: how much it counts.
        device: Where to compute.
    """

    def __init__(self, sizes: Mapping[str, int], weights: Mapping[str, float], device: torch.device) -> None:
        tasks = [task for task in sigmoids(sizes) for _ in range(sizes[task])]
        self._sizes = (len(tasks), sizes.get("category", 0))
        self._weights = torch.tensor([weights[task] for task in tasks], device=device)
        self._same_task = torch.tensor([[float(left == right) for right in tasks] for left in tasks], device=device).reshape(len(tasks), len(tasks))
        self._category_weight = weights["category"]

    def __call__(self, logits: torch.Tensor, labels: Labels) -> torch.Tensor:
        """Return the loss of B rows.

        Args:
            logits: Of the sigmoids, then of the categories, ``[B, S + C]``.
            labels: Of the same rows.
        """
        shares, categories = logits.split(self._sizes, dim=1)
        counts = labels.known.sum(dim=0) @ self._same_task  # the known cells of each column's task
        weights = labels.known * (self._weights / counts.clamp(min=1))
        loss = functional.binary_cross_entropy_with_logits(shares, labels.shares, weights, reduction="sum")
        if not categories.shape[1]:
            return loss
        wrong = functional.cross_entropy(categories, labels.category, ignore_index=UNLABELLED, reduction="sum")
        return loss + self._category_weight * wrong / (labels.category != UNLABELLED).sum().clamp(min=1)
