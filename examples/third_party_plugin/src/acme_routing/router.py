"""Routing by the prompt's length: long prompts are worth a dear model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np

from aamc_sdk import Router, RoutingRequest, Scores, Training, option
from aamc_sdk.errors import CheckpointError
from aamc_sdk.routing import token_counts
from aamc_sdk.storage import read_json, write_json


@attrs.frozen(kw_only=True)
class LengthConfig:
    """Options of the router."""

    threshold_tokens: float = option(50.0, "prompt tokens above which the dearest candidate is asked, until training finds better", at_least=0)
    tried: int = option(20, "how many thresholds training tries", at_least=1)

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {"tried": 5}}


class LengthRouter(Router):
    """Asks the cheapest candidate about short prompts and the dearest about long ones."""

    Config = LengthConfig
    uses_preference = False

    def __init__(self, config: LengthConfig, services: Any) -> None:
        super().__init__(config, services)
        self.threshold = config.threshold_tokens

    def score(self, request: RoutingRequest) -> Scores:
        """Score candidates by their cost, upwards for long prompts and downwards for short ones, ``[B, M]``."""
        return Scores(_utility(request, self.threshold))

    def train(self, training: Training) -> Mapping[str, Any]:
        """Take the threshold with the greatest mean reward on the training rows."""
        request, outcomes = training.request, training.dataset.outcomes
        if request is None or outcomes is None:
            return {}
        rewards = self.services.reward.scalar(outcomes, request.preferences)
        lengths = token_counts(request.queries)[:, 0]
        thresholds = np.quantile(lengths, np.linspace(0, 1, self.config.tried))
        means = [_mean_reward(rewards, request, threshold) for threshold in thresholds]
        self.threshold = float(thresholds[int(np.argmax(means))])
        return {"threshold_tokens": self.threshold, "mean_reward": max(means)}

    def save(self, folder: Path) -> None:
        """Write the threshold."""
        write_json(folder / "threshold.json", {"threshold_tokens": self.threshold})

    def load(self, folder: Path) -> None:
        """Read the threshold."""
        try:
            self.threshold = float(read_json(folder / "threshold.json")["threshold_tokens"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"the threshold in {folder} cannot be used ({error!r}); train again") from error


def _utility(request: RoutingRequest, threshold: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    cost = np.nan_to_num(request.expected.cost_usd)
    long = token_counts(request.queries)[:, :1] > threshold
    return np.where(long, cost, -cost)


def _mean_reward(rewards: np.ndarray[Any, Any], request: RoutingRequest, threshold: float) -> float:
    allowed = np.where(request.mask, _utility(request, threshold), -np.inf)
    return float(np.nanmean(rewards[np.arange(len(rewards)), allowed.argmax(axis=1)]))
