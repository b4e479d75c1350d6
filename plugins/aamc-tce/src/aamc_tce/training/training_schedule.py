"""A training of heads, with a frozen or a fine-tuned encoder: its inputs, its schedule of learning rates, and early stopping."""

from __future__ import annotations

import math
from typing import Generic, TypeVar

import attrs
from aamc_lexical.heads import Targets

from aamc_sdk.errors import AamcError
from aamc_sdk.interfaces import Progress
from aamc_tce.config import TCEConfig

WARM_UP = 0.06
"""Share of the steps in which learning rates rise linearly; afterwards they fall linearly to zero."""
MAX_GRADIENT_NORM = 1.0
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


def learning_rate_scale(done: float) -> float:
    """Return the factor on the maximum learning rates after a share ``done`` of the training."""
    return min((done + 1e-3) / WARM_UP, (1 - done) / (1 - WARM_UP))


@attrs.define
class EarlyStopping:
    """The progress of a training.

    Attributes:
        epoch: Number of finished epochs.
        best_loss: The lowest loss so far.
        epochs_since_best: Number of epochs since then.
        curve: The losses of each epoch.
    """

    epoch: int = 0
    best_loss: float = float("inf")
    epochs_since_best: int = 0
    curve: list[dict[str, float]] = attrs.field(factory=list)

    def continues(self, config: TCEConfig) -> bool:
        """Return whether another epoch follows."""
        return self.epoch < config.epochs and self.epochs_since_best < config.patience

    def add(self, loss: float, validation_loss: float | None) -> bool:
        """Record an epoch; return whether it is the best so far. Without a validation loss the last epoch is the best.

        Raises:
            AamcError: A loss is not finite.
        """
        self.epoch += 1
        if not math.isfinite(loss + (validation_loss or 0.0)):
            advice = "lower estimator.learning_rate or estimator.head_learning_rate, or set estimator.mixed_precision=never"
            raise AamcError(f"the loss in epoch {self.epoch} of the training is not a finite number; {advice}")
        point = {"epoch": self.epoch, "loss": loss}
        if validation_loss is not None:
            point["validation_loss"] = validation_loss
        self.curve.append(point)
        compared = -self.epoch if validation_loss is None else validation_loss
        if is_best := compared < self.best_loss:
            self.best_loss, self.epochs_since_best = compared, 0
        else:
            self.epochs_since_best += 1
        return is_best
