"""The course of a training: learning rates that rise and fall, and an end where validation no longer gets better."""

from __future__ import annotations

import attrs

from aamc_tce.config import TCEConfig

WARM_UP = 0.06
"""The share of the steps in which the learning rates rise, before they fall to zero, both linearly."""
MAX_GRADIENT_NORM = 1.0


def learning_rate_scale(done: float) -> float:
    """Return the share of the greatest learning rates that holds when a share of the training is done."""
    return min((done + 1e-3) / WARM_UP, (1 - done) / (1 - WARM_UP))


@attrs.define
class EarlyStopping:
    """How far a training is.

    Attributes:
        epoch: How many are done.
        best_loss: The least so far.
        epochs_since_best: How many passed since then.
        curve: A point for each epoch.
    """

    epoch: int = 0
    best_loss: float = float("inf")
    epochs_since_best: int = 0
    curve: list[dict[str, float]] = attrs.field(factory=list)

    def goes_on(self, config: TCEConfig) -> bool:
        """Return whether another epoch follows."""
        return self.epoch < config.epochs and self.epochs_since_best < config.patience

    def add(self, loss: float, validation_loss: float | None) -> bool:
        """Note an epoch; return whether it is the best so far: the last one, where there is nothing to validate on."""
        self.epoch += 1
        point = {"epoch": self.epoch, "loss": loss}
        if validation_loss is not None:
            point["validation_loss"] = validation_loss
        self.curve.append(point)
        judged = -self.epoch if validation_loss is None else validation_loss
        if is_best := judged < self.best_loss:
            self.best_loss, self.epochs_since_best = judged, 0
        else:
            self.epochs_since_best += 1
        return is_best
