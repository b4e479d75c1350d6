"""Router ``ppo``: decides with numpy alone; torch is imported when it is trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np

from aamc_ppo.served import CACHED_PAIRS, Prepared
from aamc_ppo.policy import initial_policy, log_softmax, utility
from aamc_ppo.rollout import PREFERENCE_SAMPLING
from aamc_sdk import Preference, Router, RoutingRequest, Scores, Services, Training, option
from aamc_sdk.errors import CheckpointError, ConfigError
from aamc_sdk.features import Array32, encode
from aamc_sdk.files import read_arrays, read_json, write_arrays, write_json
from aamc_sdk.types import Pool


@attrs.frozen(kw_only=True)
class PPOConfig:
    """Options of ``ppo``. Steps are decisions; losses and figures are explained in the reference page."""

    total_timesteps: int = option(1_000_000, "decisions to train on, rounded up to whole rollouts", at_least=1)
    n_streams: int = option(512, "streams played side by side", at_least=1)
    n_steps: int = option(16_384, "decisions of one rollout, all streams together; a multiple of n_streams", at_least=1)
    validation_steps: int = option(32_768, "validation decisions to choose the trust in what was learned by; 0: trust it wholly", at_least=0)
    epochs: int = option(3, "passes over each rollout", at_least=1)
    minibatch: int = option(4096, "decisions of one gradient step", at_least=1)
    learning_rate: float = option(1e-3, "step size of Adam", above=0)
    learning_rate_schedule: str = option("linear", "whether the step size falls to 0 over the training", choices=("linear", "constant"))
    gamma: float = option(0.0, "discount of later rewards; 0 where a decision hardly affects later ones", at_least=0, at_most=0.9999)
    gae_lambda: float = option(0.95, "0 trusts the critic, 1 the rewards", at_least=0, at_most=1)
    clip_epsilon: float = option(0.2, "most that a probability's ratio may leave 1 with profit", above=0)
    value_clip: float = option(0.2, "most that a value may move in an update with profit, in reward per step; 0 for no limit", at_least=0)
    value_weight: float = option(0.5, "weight of the critic's loss", at_least=0)
    entropy_bonus: float = option(0.02, "weight of entropy, in reward per nat; 1 / temperature keeps what the plug-in has right", at_least=0)
    kl_stop: float = option(0.05, "an update's epochs end at this KL divergence, in nats; 0 never", at_least=0)
    normalise_advantages: bool = option(True, "whether a rollout's advantages are brought to mean 0, deviation 1")
    gradient_clip: float = option(0.5, "greatest length of a gradient", above=0)
    preference_sampling: str = option("dirichlet", "how the streams' preferences are drawn", choices=PREFERENCE_SAMPLING)
    preference: str = option("0.9,0.08,0.02", "quality, cost, latency weights that preference_sampling 'fixed' takes")
    hidden: int = option(64, "width of the towers' and the critic's hidden layers", at_least=1)
    embedding: int = option(16, "width of a candidate's embedding", at_least=1)
    temperature: float = option(50.0, "initial sharpness of the policy, in nats per unit of reward", above=0)
    checkpoint_every: int = option(100_000, "decisions between checkpoints; streams and their preferences are then drawn anew", at_least=1)
    sample: bool = option(False, "whether decisions are drawn from the policy rather than its best")

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"total_timesteps": 300_000},
        "full": {},
        "paper": {"n_streams": 8, "n_steps": 2048, "minibatch": 64, "epochs": 10, "learning_rate": 3e-4, "gamma": 0.99},
    }

    def __attrs_post_init__(self) -> None:
        if self.n_steps % self.n_streams:
            raise ConfigError(f"n_steps must be a multiple of n_streams ({self.n_streams}), not {self.n_steps}")
        Preference.parse(self.preference)


class PPORouter(Router):
    """A policy over candidates, trained by PPO; see :mod:`aamc_ppo.policy` for its formulas.

    Until it is trained or loaded it is the plug-in rule: the greatest expected reward.
    """

    Config = PPOConfig
    needs_outcomes = True

    def __init__(self, config: PPOConfig, services: Services) -> None:
        super().__init__(config, services)
        self._categories: tuple[str, ...] = ()
        self._policy = self._initial()
        self._prepared: Prepared | None = None

    def _initial(self) -> dict[str, Array32]:
        rng = np.random.default_rng(self.services.seed)
        config = self.config
        return initial_policy(rng, len(self._categories), config.hidden, config.embedding, config.temperature)

    @classmethod
    def check_device(cls, device: str) -> None:
        """Refuse a GPU that torch does not find.

        Raises:
            ConfigError: It is not there.
        """
        from aamc_ppo.train import choose_device

        choose_device(device)

    def score(self, request: RoutingRequest) -> Scores:
        """Return the policy's utilities, in the unit of the reward, and where decisions are drawn its probabilities."""
        utilities = self._utilities(request)
        probabilities = np.exp(log_softmax(np.exp(self._policy["log_temperature"]) * utilities, request.mask)) if self.samples else None
        return Scores(utilities, probabilities)

    def _utilities(self, request: RoutingRequest) -> Array32:
        """Return the utilities ``[B, M]``: by the folded policy where that holds, else by features, of many pairs stretch by stretch."""
        prepared = self._prepare(request.pool)
        if prepared.folded is not None:
            folded = prepared.folded.utilities(request, self.services.reward, self._categories)
            if folded is not None:
                return folded
        stretches = request.stretches(CACHED_PAIRS) if request.mask.size > CACHED_PAIRS else (request,)
        return np.concatenate([self._of_features(part, prepared.embedded) for part in stretches])

    def _of_features(self, request: RoutingRequest, embedded: Array32) -> Array32:
        reward = self.services.reward
        features = encode(request, reward, self._categories)
        return np.asarray(utility(self._policy, features.query, reward.weights(features.preference), features.pair.swapaxes(1, 2), embedded))

    def _prepare(self, pool: Pool) -> Prepared:
        """Return what does not change between requests, computed once a pool; a race between threads computes it twice."""
        known, affine = self._prepared, self.services.reward.affine
        if known is None or known.policy is not self._policy or known.pool is not pool or known.affine is not affine:
            known = self._prepared = Prepared.of(self._policy, pool, affine)
        return known

    def train(self, training: Training) -> Mapping[str, Any]:
        """Train by PPO on ``training.env``; see :func:`aamc_ppo.train.train`."""
        from aamc_ppo.train import train

        self._policy, self._categories, metrics = train(self.config, self.services, training)
        return metrics

    def save(self, folder: Path) -> None:
        """Write the policy and the categories that it knows."""
        write_arrays(folder / "policy.npz", self._policy)
        write_json(folder / "policy.json", {"categories": self._categories})

    def load(self, folder: Path) -> None:
        """Read what :meth:`save` wrote.

        Raises:
            CheckpointError: It is missing, damaged, or of other sizes than the configuration's.
        """
        arrays, saved = read_arrays(folder / "policy.npz"), read_json(folder / "policy.json")
        try:
            self._categories = tuple(map(str, saved["categories"]))
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"{folder / 'policy.json'} names no categories ({error!r}); train again") from error
        check_shapes(arrays, self._initial(), folder / "policy.npz")
        self._policy = arrays


def check_shapes(arrays: Mapping[str, Array32], expected: Mapping[str, Array32], path: Path) -> None:
    """Raise where saved parameters are not those of this configuration.

    Raises:
        CheckpointError: Names the first that is missing, too many, of another shape, or not finite.
    """
    for name in sorted({*arrays, *expected}):
        found = arrays[name].shape if name in arrays else "nothing"
        wanted = expected[name].shape if name in expected else "nothing"
        if found != wanted:
            raise CheckpointError(f"{path} does not fit: {name} should have shape {wanted} and has {found}; use its own configuration or train again")
        if not np.isfinite(arrays[name]).all():
            raise CheckpointError(f"{path} is damaged: {name} has values that are not finite; train again")
