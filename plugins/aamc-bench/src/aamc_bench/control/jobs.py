"""The job: all policies of one scenario and seed, on the same streams."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from aamc_environments.queue import (
    QueueEnvironment,
    QueueOptions,
    QueueStreams,
    Rule,
    mean_rewards,
    present_rewards,
    reference_rule,
    upper_bound,
)
from aamc_ppo.router import PPOConfig, PPORouter

from aamc_sdk import Pool, Preference, Training
from aamc_sdk.config import configure
from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import Progress
from aamc_sdk.routing import LinearReward, pool_from_dict
from aamc_sdk.storage import write_arrays
from aamc_sdk.types import Floats

REWARDS_FILE = "rewards.npz"
QUERIES = {"train": 8000, "validation": 1000, "test": 4000}
"""Queries of the splits."""
EVALUATION = 2**20
"""Difference between the seeds of the measured streams and of the training."""
ESTIMATE_ERROR = 0.1
"""Standard deviation of the error of ``greedy``'s estimates, unless option noise of the environment is given."""


@attrs.frozen
class ScenarioWorld:
    """A scenario's environment with true expectations, queries of its own distribution and the reward fitted to them.

    ``estimate_error`` is the standard deviation of the error of ``greedy``'s estimates.
    """

    environment: QueueEnvironment
    estimate_error: float

    @classmethod
    def of(cls, pool: Pool, options: Mapping[str, Any], seed: int, scales: Mapping[str, Any] | None = None) -> ScenarioWorld:
        """Build environment ``queue``, whose option noise is the error of ``greedy``'s estimates alone; ``scales`` are options of reward ``linear``.

        Raises:
            ConfigError: An option is wrong.
            PoolError: The pool lacks candidates that the scenario needs.
        """
        reward = LinearReward(configure(LinearReward.Config, scales or {}, where="reward"))
        config = configure(QueueOptions, {"noise": ESTIMATE_ERROR, **options}, where="environment")
        queries = {name: (size, 3 * seed + number) for number, (name, size) in enumerate(QUERIES.items())}
        return cls(QueueEnvironment.sampled(attrs.evolve(config, noise=0.0), pool, reward, queries, seed), config.noise)

    def streams(self, n: int, preference: Floats, seed: int, noise: float = 0.0) -> QueueStreams:
        """Return n test streams of one preference; the same ones for the same seed, with estimates of this error."""
        config = attrs.evolve(self.environment.config, noise=noise)
        environment = QueueEnvironment(config, self.environment.services)
        environment.prepare({"test": self.environment.dataset("test")})
        streams = environment.vector(n, "test", seed=seed, preferences=np.tile(preference, (n, 1)))
        assert isinstance(streams, QueueStreams)
        streams.reset(seed=seed)
        return streams


def random_rule(seed: int) -> Rule:
    """Return uniform choices."""
    generator = np.random.default_rng((seed, 1))
    return lambda streams: generator.random((streams.num_envs, len(streams.visible.pool)))


def greedy_rule(streams: QueueStreams) -> Floats:
    """Return the expected rewards, of estimates as they are in the streams."""
    request = streams.request()
    return streams.setup.reward.scalar(request.expected, request.preferences)


STREAMS = 128
"""Streams that each policy plays."""
STEPS = 1000
"""Steps that count, at least."""
BLOCK, MIN_BLOCKS, MAX_BLOCKS = 100, 4, 40
"""Steps of a block of the warm-up, at least, and blocks at least and at most."""
SETTLED = 2.0
"""Standard errors by which two neighbouring blocks may differ in a stationary state."""


def measure(
    folder: Path,
    progress: Progress,
    pool: Mapping[str, Any],
    environment: Mapping[str, Any],
    preference: str,
    seed: int,
    router: Mapping[str, Any],
    preset: str,
    sb3: bool,
    reward: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Train PPO, play every policy in the same streams, save each stream's mean rewards; return lengths of streams, a bound and PPO's trust factor.

    The file holds an array ``[streams]`` for each policy.
    """
    world, weights = ScenarioWorld.of(pool_from_dict(pool, "the scenario's pool"), environment, seed, reward), Preference.parse(preference).array
    evaluation_seed = seed + EVALUATION
    warm_up, steps = stream_length(world, weights, evaluation_seed)
    ppo = _trained(world, folder, progress, router, preset)
    rules: dict[str, Rule] = {
        "random": random_rule(seed),
        "greedy": greedy_rule,
        "greedy-truth": present_rewards,
        "reference": reference_rule(world.streams(1, weights, evaluation_seed), weights),
        "ppo": lambda streams: ppo.score(streams.request()).utility,
    }
    if sb3:
        total = configure(PPOConfig, router, preset=preset).total_timesteps
        rules["sb3"] = train_sb3(world, total, seed, progress)
    progress.start("Streams", len(rules))
    rewards = {}
    for name, rule in rules.items():
        noise = world.estimate_error if name == "greedy" else 0.0
        rewards[name] = mean_rewards(world.streams(STREAMS, weights, evaluation_seed, noise), rule, warm_up, steps)
        progress.advance()
    write_arrays(folder / REWARDS_FILE, rewards)
    bound = upper_bound(world.streams(1, weights, evaluation_seed), weights)
    trust = None if ppo.trust is None else ppo.trust["factor"]
    return {"warm_up": warm_up, "steps": steps, "streams": STREAMS, "bound": bound, "trust": trust}


def _trained(world: ScenarioWorld, folder: Path, progress: Progress, options: Mapping[str, Any], preset: str) -> PPORouter:
    """Return router ``ppo``, trained with true expectations; an interrupted training continues."""
    router = PPORouter(configure(PPOConfig, options, preset=preset, where="router"), world.environment.services)
    environment = world.environment
    train, validation = environment.dataset("train"), environment.dataset("validation")
    router.train(Training(dataset=train, validation=validation, env=environment, folder=folder / "ppo", resume=True, progress=progress))
    return router


def stream_length(world: ScenarioWorld, preference: Floats, seed: int) -> tuple[int, int]:
    """Return steps of warm-up and of measurement: multiples of the recovery, such as a budget's day; warm until greedy's rewards settle.

    Greedy's queues are longer than those of a policy that plans ahead, so they take the longest to fill.
    """
    streams = world.streams(STREAMS, preference, seed)
    recovery = max(1, math.ceil(streams.recovery))
    block = -(-BLOCK // recovery) * recovery
    blocks = [mean_rewards(streams, present_rewards, 0, block) for _ in range(MIN_BLOCKS)]
    while len(blocks) < MAX_BLOCKS * BLOCK / block and not _settled(blocks):
        blocks.append(mean_rewards(streams, present_rewards, 0, block))
    return len(blocks) * block, -(-STEPS // block) * block


def _settled(blocks: list[Floats]) -> bool:
    """Whether the last two blocks of each stream's rewards have the same mean, within the error of chance."""
    change = (blocks[-1] + blocks[-2] - blocks[-3] - blocks[-4]) / 2
    return bool(abs(change.mean()) <= SETTLED * change.std() / np.sqrt(len(change)))


SB3_STREAMS, SB3_STEPS = 64, 64
"""Streams of a rollout, and steps in each."""


def train_sb3(world: ScenarioWorld, total: int, seed: int, progress: Progress) -> Rule:
    """Train with the package's own defaults, but for rollouts as long as router ppo's, and return its rule.

    Raises:
        ConfigError: Stable-Baselines3 is not installed.
    """
    try:
        from aamc_environments.sb3 import StreamsVecEnv
        from stable_baselines3 import PPO
    except ImportError as error:
        raise ConfigError("--sb3 needs Stable-Baselines3; install it: pip install aamc-environments[sb3]") from error
    generator = np.random.default_rng((seed, 2))
    preferences = generator.dirichlet(np.ones(3), SB3_STREAMS)
    streams = world.environment.vector(SB3_STREAMS, "train", seed=seed, preferences=preferences)
    progress.say("training Stable-Baselines3's PPO")
    learner = PPO("MlpPolicy", StreamsVecEnv(streams), n_steps=SB3_STEPS, batch_size=512, seed=seed, device="cpu", verbose=0)
    learner.learn(total)

    def rule(streams: object) -> Floats:
        actions, _ = learner.predict(streams.observation(), deterministic=True)  # type: ignore[attr-defined]  # an SB3 model, whose package may be missing
        utilities: Floats = np.eye(int(learner.action_space.n))[actions]  # type: ignore[attr-defined]  # likewise
        return utilities

    return rule
