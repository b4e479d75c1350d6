"""The data that components are trained on, and the progress of training."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import attrs

from aamc_sdk.interfaces.environments import Environment

if TYPE_CHECKING:
    from aamc_sdk.types import Dataset, RoutingRequest


class Progress(Protocol):
    """Receives the progress of a job."""

    def start(self, what: str, total: int) -> None:
        """Begin a stage of ``total`` steps."""

    def advance(self, steps: int = 1, **figures: float) -> None:
        """Report steps done and the figures to show with them."""

    def say(self, line: str) -> None:
        """Show one line to the user."""


class NoProgress:
    """Ignores all progress."""

    def start(self, what: str, total: int) -> None:
        """Do nothing."""

    def advance(self, steps: int = 1, **figures: float) -> None:
        """Do nothing."""

    def say(self, line: str) -> None:
        """Do nothing."""


@attrs.frozen(kw_only=True)
class Training:
    """The data that a component learns from.

    Attributes:
        dataset: Training rows.
        validation: Rows for early stopping and model selection; shares no question with training.
        request: The request of the training rows; its expected quality is out of fold.
        validation_request: The request of the validation rows.
        env: The environment in which policies are trained, on its splits ``train`` and ``validation``.
        folder: The folder for checkpoints of an unfinished training; None to write none.
        resume: Whether to resume from the checkpoint in the folder.
        progress: Receives the progress.
        budget_usd: The training ends when its calls of models and agents have cost this amount.
    """

    dataset: Dataset
    validation: Dataset | None = None
    request: RoutingRequest | None = None
    validation_request: RoutingRequest | None = None
    env: Environment | None = None
    folder: Path | None = None
    resume: bool = False
    progress: Progress = attrs.field(factory=NoProgress)
    budget_usd: float = math.inf
