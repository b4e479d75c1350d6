"""What a training of heads needs, whether the encoder learns along or not."""

from __future__ import annotations

from typing import Generic, TypeVar

import attrs
from aamc_lexical.heads import Targets

from aamc_sdk.interfaces import Progress
from aamc_tce.config import TCEConfig

Inputs = TypeVar("Inputs")
"""Embeddings ``[N, D]`` of N texts where the encoder is frozen, the texts with their encoder where it learns along."""


@attrs.frozen(kw_only=True, eq=False)
class HeadTraining(Generic[Inputs]):
    """All that one training needs.

    Attributes:
        config: The estimator's options.
        examples: What is learned from.
        targets: Their labels.
        validation: Examples and labels for early stopping, or None to train for all epochs.
        seed: All randomness follows from it.
        progress: Where to report.
        name: What this training is called there.
    """

    config: TCEConfig
    examples: Inputs
    targets: Targets
    validation: tuple[Inputs, Targets] | None
    seed: int
    progress: Progress
    name: str
