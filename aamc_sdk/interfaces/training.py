"""The data that components are trained on, and the progress of training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.errors import DataError
from aamc_sdk.interfaces.components import Reward
from aamc_sdk.interfaces.environments import Environment, RoutingStreams
from aamc_sdk.messages import component_errors
from aamc_sdk.types import Dataset, Floats, RoutingRequest


@runtime_checkable
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


class TrainingEnvironment(Environment):
    """Wraps an environment and refuses its split ``test``. Other attributes of the wrapped environment can be read too."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self.stationary = env.stationary  # type: ignore[misc]  # of the wrapped environment's class

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the wrapped environment."""
        if name == "_env":  # not set yet, as in a copy
            raise AttributeError(name)
        return getattr(self._env, name)

    def prepare(self, splits: Mapping[str, Dataset]) -> None:
        """Set the data of the splits."""
        self._env.prepare(splits)

    def dataset(self, split: str) -> Dataset:
        """Return a split with outcomes; ``test`` raises a DataError."""
        return self._env.dataset(_not_test(split))

    def vector(self, n: int, split: str, **options: Any) -> RoutingStreams:
        """Return n streams of a split's queries; ``test`` raises a DataError."""
        used = _not_test(split)
        with component_errors(f"{self._env.message_name} failed"):  # else the router that is trained would be blamed
            streams = self._env.vector(n, used, **options)
            if not hasattr(streams, "step"):
                raise TypeError(f"vector must return streams (aamc_sdk.interfaces.RoutingStreams), not {streams!r:.80}")
            return streams


def _without_test(env: Environment | None) -> Environment | None:
    return env if env is None or isinstance(env, TrainingEnvironment) else TrainingEnvironment(env)


def _not_test(split: str) -> str:
    if split == "test":
        raise DataError("a training cannot use the split 'test', on which the result is measured; use 'train', or 'validation' to select")
    return split


@attrs.frozen(kw_only=True)
class Training:
    """The data that a component learns from.

    Attributes:
        dataset: Training rows.
        validation: Rows for early stopping and model selection; shares no question with training.
        request: The request of the training rows; its expected quality is out of fold.
        validation_request: The request of the validation rows.
        env: The environment in which policies are trained, on its splits ``train`` and ``validation``; it refuses ``test``.
        folder: The folder for checkpoints of an unfinished training; None to write none.
        resume: Whether to resume from the checkpoint in the folder.
        progress: Receives the progress.
        budget_usd: The training ends when its calls of models and agents have cost this amount.
    """

    dataset: Dataset
    validation: Dataset | None = None
    request: RoutingRequest | None = None
    validation_request: RoutingRequest | None = None
    env: Environment | None = attrs.field(default=None, converter=_without_test)
    folder: Path | None = None
    resume: bool = False
    progress: Progress = attrs.field(factory=NoProgress)
    budget_usd: float = math.inf

    def known_rewards(self, reward: Reward, router: str) -> tuple[NDArray[np.intp], Floats]:
        """Return the training rows with a known reward, and the reward of all Q rows at their preferences ``[Q, M]``, NaN where it is unknown.

        Args:
            reward: The reward of the router's services.
            router: The router's name in errors.

        Raises:
            DataError: The training rows have no outcomes, or no row has a known reward.
        """
        outcomes, source = self.dataset.outcomes, self.dataset.source
        if outcomes is None or self.request is None:
            raise DataError(f"{router} learns from outcomes, and {source} has none; use a dataset with outcomes")
        rewards = reward.scalar(outcomes, self.request.preferences)
        rows = np.flatnonzero(np.isfinite(rewards).any(axis=1))
        if not len(rows):
            raise DataError(f"{source} has no row with a known reward; {router} needs qualities, and costs where the preference weighs them")
        return rows, rewards
