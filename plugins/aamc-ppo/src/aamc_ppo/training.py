"""A training of router ``ppo`` as the SDK asks for it: device, threads, the loop of rollouts and updates, and the choice of the trust factor."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import numpy as np
import torch

from aamc_ppo.ppo import PPO, Parameters, PPOConfig, embed_candidates, log_softmax, utility
from aamc_ppo.rollout import PolicyFunction, PolicyInputs, Rollout, draw_preferences, play
from aamc_ppo.training_state import restore_state, training_state
from aamc_ppo.trust import VALIDATION_STREAMS, choose_trust, scale_correction
from aamc_sdk import Preference, RoutingRequest
from aamc_sdk.errors import AamcError, ConfigError
from aamc_sdk.interfaces import Environment, RecoveringStreams, Reward, RoutingStreams, Services, Training
from aamc_sdk.routing import Array32, encode_candidates
from aamc_sdk.storage import load_training_checkpoint, save_training_checkpoint
from aamc_sdk.types import Floats

RECOVERIES = 4
"""Validation lasts at least as long as the shared resource recovers this many times: half of it is warm-up."""


def train(config: PPOConfig, services: Services, training: Training) -> tuple[dict[str, Array32], tuple[str, ...], dict[str, Any]]:
    """Return a trained policy, the query categories that it knows, and metrics.

    Raises:
        AamcError: The training has no environment.
        CheckpointError: The training is to be resumed, and its checkpoint is damaged or of other options.
        DataError: The environment's rewards cannot be learned from.
    """
    if training.env is None:
        raise AamcError("ppo learns by practising and needs an environment; name one with --environment")
    with one_thread():
        loop = TrainingLoop(config, services, training, training.env, choose_device(services.device))
        policy = loop.run()
        metrics = {"steps": loop.steps, "gamma": loop.gamma, "curve": loop.curve, "reward_by_trust": {}, "trust": None}
        if training.validation is not None and config.validation_steps:
            steps = max(-(-config.validation_steps // VALIDATION_STREAMS), math.ceil(RECOVERIES * loop.recovery))
            trust = choose_trust(policy, loop.validation_streams, loop.candidates, services.reward, steps)
            policy = scale_correction(policy, trust.factor)
            metrics |= {"reward_by_trust": trust.reward, "trust": {"factor": trust.factor, "gain": trust.gain, "ci95": list(trust.ci95)}}
            training.progress.say(str(trust))
    return policy, loop.categories, metrics


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread, the fastest for networks this small, and restore its number of threads at the end."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def choose_device(name: str) -> torch.device:
    """Return the device of updates: ``auto`` is a GPU if there is one.

    Raises:
        ConfigError: A GPU is asked for, and torch finds none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device 'cuda' cannot be used: torch finds no GPU; use --device auto or cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def policy_function(p: Parameters, candidates: Array32, reward: Reward) -> PolicyFunction:
    """Return a policy as a function from observations to its inputs and log probabilities, for candidates ``[M, 39]``."""
    embedded, tau = embed_candidates(p, candidates), np.exp(p["log_temperature"])

    def policy(observations: Array32) -> tuple[PolicyInputs, Array32]:
        inputs = PolicyInputs.of(observations, len(candidates), reward)
        logits = utility(p, inputs.query, inputs.weights, inputs.pair, embedded, tau=tau)
        return inputs, log_softmax(logits, inputs.mask)

    return policy


class TrainingLoop:
    """Rollouts and updates in turn, in segments of ``checkpoint_every`` decisions.

    A segment begins with new streams at new preferences, whose random numbers follow from the seed and the number of rollouts done. So a
    checkpoint between segments need not hold the environment, and an interrupted training ends with the same bits as an uninterrupted one.
    """

    def __init__(self, config: PPOConfig, services: Services, training: Training, env: Environment, device: torch.device) -> None:
        self._config, self._services, self._training, self._env = config, services, training, env
        self.rollouts = -(-config.total_timesteps // config.n_steps)
        self._done = 0
        self.curve: list[dict[str, float]] = []
        streams, observations = self.streams(0)
        self.recovery = streams.recovery if isinstance(streams, RecoveringStreams) else 0.0
        self.gamma = config.discount(self.recovery)
        self._config = config = attrs.evolve(config, gamma=self.gamma)
        request = streams.request()
        self.categories = tuple(request.estimates.category_names)
        self.candidates = encode_candidates(request.pool)
        self._ppo = PPO(config, len(self.categories), self.candidates, device, services.seed)
        inputs = PolicyInputs.of(observations, len(self.candidates), services.reward)
        self._rollout = Rollout.empty(config.n_steps // config.n_streams, inputs)

    def run(self) -> dict[str, Array32]:
        """Train to the end, with a checkpoint after each segment, and return the policy.

        Raises:
            CheckpointError: The training is to be resumed, and its checkpoint is damaged or of other options, seed, pool or categories.
        """
        if self._training.resume:
            self._restore()
        self._training.progress.start("ppo", self.rollouts * self._config.n_steps)
        self._training.progress.advance(self.steps)
        per_segment = max(1, self._config.checkpoint_every // self._config.n_steps)
        while self._done < self.rollouts:
            self._run_segment(min(per_segment, self.rollouts - self._done))
            save_training_checkpoint(self._training.folder, training_state(self._ppo), self._done, self.curve, self._made_for())
        return {name: array.copy() for name, array in self._ppo.policy().items()}

    def _run_segment(self, rollouts: int) -> None:
        config, rollout = self._config, self._rollout
        streams, observations = self.streams(self._done)
        for _ in range(rollouts):
            started = time.perf_counter()
            rng = self._generator(self._done, "rollout")
            policy = policy_function(self._ppo.policy(), self.candidates, self._services.reward)
            observations = play(policy, streams, observations, rollout, rng)
            remaining = 1 - self._done / self.rollouts if config.learning_rate_schedule == "linear" else 1.0
            figures = self._ppo.update(rollout, remaining, rng)
            self._done += 1
            mean_reward = float((rollout.inputs.weights[:-1] * rollout.reward).sum(axis=2).mean())
            self.curve.append({"step": self.steps, "return": mean_reward, **figures})
            speed = config.n_steps / (time.perf_counter() - started)
            self._training.progress.advance(config.n_steps, **{"return": mean_reward, "steps_per_s": speed})

    @property
    def steps(self) -> int:
        """Decisions made so far."""
        return self._done * self._config.n_steps

    def streams(self, rollout: int) -> tuple[RoutingStreams, Array32]:
        """Return new training streams and their first observations, with random numbers that follow from the rollout's number."""
        rng, groups = self._generator(rollout, "train"), self._config.n_streams // self._config.group_size
        return self._start("train", self._training.request, self._preferences(groups, rng), self._config.group_size, rng)

    def validation_streams(self, n: int) -> tuple[RoutingStreams, Array32]:
        """Return n validation streams, the same ones each time, and their first observations; two streams have the same preference."""
        rng = self._generator(self.rollouts, "validation")
        return self._start("validation", self._training.validation_request, np.tile(self._preferences(n // 2, rng), (2, 1)), 1, rng)

    def _preferences(self, n: int, rng: np.random.Generator) -> Floats:
        return draw_preferences(self._config.preference_sampling, Preference.parse(self._config.preference).array, n, rng)

    def _start(
        self, split: str, request: RoutingRequest | None, preferences: Floats, group_size: int, rng: np.random.Generator
    ) -> tuple[RoutingStreams, Array32]:
        """Return ``group_size`` streams with the same queries and random numbers for each preference, and their first observations."""
        seed, numbers = int(rng.integers(2**31)), np.arange(len(preferences)).repeat(group_size)
        preferences = preferences.repeat(group_size, axis=0)
        streams = self._env.vector(len(numbers), split, request=request, seed=seed, streams=numbers, preferences=preferences)
        observations, _ = streams.reset(seed=seed)
        return streams, observations

    def _generator(self, rollout: int, purpose: str) -> np.random.Generator:
        return np.random.default_rng((self._services.seed, rollout, *purpose.encode()))

    def _made_for(self) -> dict[str, Any]:
        """Return the settings that a resumed training must share with its checkpoint, in JSON's types."""
        pool = list(self._services.pool.names)
        return {"options": attrs.asdict(self._config), "seed": self._services.seed, "pool": pool, "categories": list(self.categories)}

    def _restore(self) -> None:
        found = load_training_checkpoint(self._training.folder, self._made_for())
        if found is not None:
            restore_state(self._ppo, found.arrays, found.path)
            self._done, self.curve = found.done, found.curve
