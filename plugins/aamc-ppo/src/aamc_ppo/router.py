"""Router ``ppo``: decides with numpy alone; torch is imported for training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aamc_ppo.initial_parameters import initial_policy
from aamc_ppo.ppo import PPOConfig, log_softmax
from aamc_ppo.served_policy import ServedPolicy
from aamc_sdk import Requirements, Router, RoutingRequest, Scores, Services, Training
from aamc_sdk.errors import CheckpointError
from aamc_sdk.routing import Array32
from aamc_sdk.storage import check_parameters, read_arrays, read_json, write_arrays, write_json

__all__ = ["PPOConfig", "PPORouter"]


class PPORouter(Router):
    """A policy over candidates, trained by PPO; see :mod:`aamc_ppo.ppo`.

    Until it is trained or loaded it equals the plug-in rule: the maximum expected reward.
    """

    Config = PPOConfig
    requires = Requirements(outcomes=True, training=True, cheap_rescoring=True)

    def __init__(self, config: PPOConfig, services: Services) -> None:
        super().__init__(config, services)
        self._categories: tuple[str, ...] = ()
        self._policy = self._initial()
        self._served: ServedPolicy | None = None
        self.trust: Mapping[str, Any] | None = None
        """The chosen trust factor with its gain over the plug-in rule, see :class:`aamc_ppo.trust.Trust`; None without a choice."""

    def _initial(self) -> dict[str, Array32]:
        config: PPOConfig = self.config
        return initial_policy(config.hidden, config.embedding, config.temperature, len(self._categories), np.random.default_rng(self.services.seed))

    @classmethod
    def check_device(cls, device: str) -> None:
        """Check that training can compute on a device; ``aamc run`` calls this before it reads data.

        Raises:
            ConfigError: Torch does not find the device.
        """
        from aamc_ppo.training import choose_device

        choose_device(device)

    def score(self, request: RoutingRequest) -> Scores:
        """Return the policy's utilities, in the unit of the reward, and with option ``sample`` its probabilities."""
        reward = self.services.reward
        served, affine = self._served, reward.affine
        if served is None or served.parameters is not self._policy or served.pool is not request.pool or served.affine is not affine:
            served = self._served = ServedPolicy.of(self._policy, request.pool, affine)  # two threads may both compute it
        utilities = served.utilities(request, reward, self._categories)
        if not self.samples:
            return Scores(utilities, None)
        return Scores(utilities, np.exp(log_softmax(np.exp(self._policy["log_temperature"]) * utilities, request.mask)))

    def train(self, training: Training) -> Mapping[str, Any]:
        """Train by PPO in ``training.env``; see :func:`aamc_ppo.training.train`."""
        from aamc_ppo.training import train

        self._policy, self._categories, metrics = train(self.config, self.services, training)
        self.trust = metrics["trust"]
        return metrics

    def save(self, folder: Path) -> None:
        """Write the policy, the query categories that it knows, and its trust factor."""
        write_arrays(folder / "policy.npz", self._policy)
        write_json(folder / "policy.json", {"categories": self._categories, "trust": self.trust})

    def load(self, folder: Path) -> None:
        """Read a saved policy.

        Raises:
            CheckpointError: A file is missing or damaged, or its sizes differ from the configuration's.
        """
        arrays, saved = read_arrays(folder / "policy.npz"), read_json(folder / "policy.json")
        try:
            self._categories, self.trust = tuple(map(str, saved["categories"])), saved.get("trust")
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"{folder / 'policy.json'} names no categories ({error!r}); train again") from error
        check_parameters(arrays, self._initial(), folder / "policy.npz")
        self._policy = arrays
