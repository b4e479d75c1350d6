"""The inputs of one training of heads, with a frozen or a fine-tuned encoder."""

from __future__ import annotations

from typing import Generic, TypeVar

import attrs
from aamc_lexical.heads import Targets

from aamc_sdk.interfaces import Progress
from aamc_tce.config import TCEConfig

Inputs = TypeVar("Inputs")
"""Embeddings ``[N, D]`` for a frozen encoder; the texts and their encoder for fine-tuning."""


@attrs.frozen(kw_only=True, eq=False)
class HeadTraining(Generic[Inputs]):
    """The inputs of one training.

    Attributes:
        config: The estimator's options.
        examples: The training inputs.
        targets: Their labels.
        validation: Inputs and labels for early stopping, or None to train for all epochs.
        seed: Seed of all randomness.
        progress: Receives progress reports.
        name: The name of this training in progress reports.
    """

    config: TCEConfig
    examples: Inputs
    targets: Targets
    validation: tuple[Inputs, Targets] | None
    seed: int
    progress: Progress
    name: str
