"""Routing by the length of the prompt: long prompts to an expensive model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np

from aamc_sdk import CheckpointError, Router, RoutingRequest, Scores, Services, Training, option, read_json, write_json
from aamc_sdk.routing import token_counts
from aamc_sdk.types import Floats


@attrs.frozen(kw_only=True)
class LengthOptions:
    """Options of the router."""

    threshold_tokens: float = option(50.0, "Prompt tokens above which the most expensive candidate is chosen; training replaces it.", at_least=0)
    trials: int = option(20, "Number of thresholds that training tries.", at_least=1)

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {"trials": 5}}


class LengthRouter(Router):
    """Chooses the cheapest candidate for short prompts and the most expensive one for long prompts."""

    Config = LengthOptions
    uses_preference = False

    def __init__(self, config: LengthOptions, services: Services) -> None:
        super().__init__(config, services)
        self.threshold = config.threshold_tokens

    def score(self, request: RoutingRequest) -> Scores:
        """Score candidates by cost, ``[B, M]``: ascending for long prompts, descending for short ones."""
        return Scores(_utility(request, self.threshold))

    def train(self, training: Training) -> Mapping[str, Any]:
        """Choose the threshold with the maximum mean reward on the training rows."""
        request, outcomes = training.request, training.dataset.outcomes
        if request is None or outcomes is None:
            return {}
        rewards = self.services.reward.scalar(outcomes, request.preferences)
        lengths = token_counts(request.queries)[:, 0]
        thresholds = np.quantile(lengths, np.linspace(0, 1, self.config.trials))
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


def _utility(request: RoutingRequest, threshold: float) -> Floats:
    cost = np.nan_to_num(request.expected.cost_usd)
    long = token_counts(request.queries)[:, :1] > threshold
    return np.where(long, cost, -cost)


def _mean_reward(rewards: Floats, request: RoutingRequest, threshold: float) -> float:
    allowed = np.where(request.mask, _utility(request, threshold), -np.inf)
    return float(np.nanmean(rewards[np.arange(len(rewards)), allowed.argmax(axis=1)]))
