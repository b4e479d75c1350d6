"""Training ``ppo``: rollouts and updates in turn, with checkpoints from which a stopped training goes on exactly.

Training goes in segments of ``checkpoint_every`` decisions. Each begins with new streams at new preferences, whose
luck follows from the seed and the segment's number. So a checkpoint between two segments need not hold the
environment, and a training that was stopped ends with the same parameters, bit by bit, as one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import torch

from aamc_ppo.policy import initial_critic, initial_policy
from aamc_ppo.ppo import Learner
from aamc_ppo.rollout import Player, draw_preferences
from aamc_ppo.selection import choose_trust
from aamc_sdk.errors import AamcError, ConfigError
from aamc_sdk.interfaces import Environment, RoutingStreams, Services, Training
from aamc_sdk.routing import Array32, encode_candidates
from aamc_sdk.storage import find_interrupted, leave_checkpoint
from aamc_sdk.types import Preference

if TYPE_CHECKING:
    from aamc_ppo.router import PPOConfig


def train(config: PPOConfig, services: Services, training: Training) -> tuple[dict[str, Array32], tuple[str, ...], dict[str, Any]]:
    """Return a trained policy, the categories that it knows, and metrics.

    Raises:
        AamcError: There is no environment to practise in.
        CheckpointError: Asked to resume, but the checkpoint is damaged or from other options.
        DataError: The environment's rewards cannot be learned from.
    """
    if training.env is None:
        raise AamcError("ppo learns by practising and needs an environment; name one with --environment")
    with one_thread():
        job = Job(config, services, training, training.env)
        if training.resume:
            job.restore()
        job.run()
        policy, trusts = job.result()
    return policy, job.categories, {"steps": job.steps, "curve": job.curve, "reward_by_trust": trusts}


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread, the fastest for nets this small, and set its threads back at the end."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def choose_device(name: str) -> torch.device:
    """Return where to compute: ``auto`` is a GPU where there is one.

    Raises:
        ConfigError: A GPU is asked for, and torch finds none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device 'cuda' cannot be used: torch finds no GPU; use --device auto or cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


class Job:
    """One training, from rollout to rollout."""

    def __init__(self, config: PPOConfig, services: Services, training: Training, env: Environment) -> None:
        self._config = config
        self._services = services
        self._training = training
        self._env = env
        self._rollouts = -(-config.total_timesteps // config.n_steps)
        self._segment = max(1, config.checkpoint_every // config.n_steps)
        self._done = 0
        self.curve: list[dict[str, float]] = []
        streams, _ = self._streams("train", 0)
        present = streams.request()
        self.categories = tuple(present.estimates.category_names)
        self._candidate = encode_candidates(present.pool)
        rng = np.random.default_rng(services.seed)
        policy = initial_policy(rng, len(self.categories), config.hidden, config.embedding, config.temperature)
        critic = initial_critic(rng, len(self.categories), config.hidden)
        self.learner = Learner(config, policy, critic, self._candidate, choose_device(services.device))

    @property
    def steps(self) -> int:
        """Decisions made so far."""
        return self._done * self._config.n_steps

    def run(self) -> None:
        """Train to the end, leaving a checkpoint after each segment."""
        self._training.progress.start("ppo", self._rollouts * self._config.n_steps)
        self._training.progress.advance(self.steps)
        while self._done < self._rollouts:
            self._run_segment()
            self._keep()

    def _run_segment(self) -> None:
        config = self._config
        streams, observations = self._streams("train", self._done)
        player = Player(streams, observations, self._candidate, self._services.reward)
        for _ in range(min(self._segment, self._rollouts - self._done)):
            started = time.perf_counter()
            rng = self._generator(self._done, "rollout")
            rollout = player.play(self.learner.policy(), config.n_steps // config.n_streams, rng)
            remaining = 1 - self._done / self._rollouts if config.learning_rate_schedule == "linear" else 1.0
            figures = self.learner.update(rollout, config.learning_rate * remaining, rng)
            self._done += 1
            mean_reward = float((rollout.view.weights[:-1] * rollout.reward).sum(axis=2).mean())
            self.curve.append({"step": self.steps, "return": mean_reward, **figures})
            speed = config.n_steps / (time.perf_counter() - started)
            self._training.progress.advance(config.n_steps, **{"return": mean_reward, "steps_per_s": speed})

    def _generator(self, rollout: int, purpose: str) -> np.random.Generator:
        """Return the chance that belongs to a rollout, whatever came before it."""
        return np.random.default_rng((self._services.seed, rollout, *purpose.encode()))

    def result(self) -> tuple[dict[str, Array32], dict[str, float]]:
        """Return the policy, scaled by the trust that earns most on validation rows where there are some."""
        policy = {name: array.copy() for name, array in self.learner.policy().items()}
        steps = self._config.validation_steps // self._config.n_streams
        if self._training.validation is None or not steps:
            return policy, {}
        return choose_trust(policy, lambda: self._streams("validation", self._rollouts), self._candidate, self._services.reward, steps)

    def _streams(self, split: str, rollout: int) -> tuple[RoutingStreams, Array32]:
        """Return new streams, and their first observations, whose luck belongs to a rollout."""
        config = self._config
        rng = self._generator(rollout, split)
        fixed = Preference.parse(config.preference).array
        preferences = draw_preferences(config.preference_sampling, fixed, config.n_streams, rng)
        seed = int(rng.integers(2**31))
        request = self._training.request if split == "train" else self._training.validation_request
        streams = self._env.vector(config.n_streams, split, request=request, seed=seed, preferences=preferences)
        observations, _ = streams.reset(seed=seed)
        return streams, observations

    def _keep(self) -> None:
        """Write all that the next segment depends on."""
        leave_checkpoint(self._training.folder, self.learner.state(), self._done, self.curve, self._made_for())

    def _made_for(self) -> dict[str, Any]:
        """Return what a checkpoint must agree on, in JSON's own types."""
        pool = self._services.pool.names
        return {"options": attrs.asdict(self._config), "seed": self._services.seed, "pool": list(pool), "categories": list(self.categories)}

    def restore(self) -> None:
        """Go on from the checkpoint; from the beginning where the training stopped before the first.

        Raises:
            CheckpointError: It is damaged, or was made with other options, seed, pool or categories.
        """
        found = find_interrupted(self._training.folder, self._made_for())
        if found is not None:
            self.learner.restore(found.arrays, found.path)
            self._done, self.curve = found.done, found.curve
