"""Stable-Baselines3's PPO on the streams of a scenario, where that package is installed."""

from __future__ import annotations

import numpy as np
from aamc_environments.queue import Rule

from aamc_bench.control.policies import ScenarioWorld
from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import Progress
from aamc_sdk.types import Floats

STREAMS, STEPS = 64, 64
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
    preferences = generator.dirichlet(np.ones(3), STREAMS)
    streams = world.environment.vector(STREAMS, "train", seed=seed, preferences=preferences)
    progress.say("training Stable-Baselines3's PPO")
    learner = PPO("MlpPolicy", StreamsVecEnv(streams), n_steps=STEPS, batch_size=512, seed=seed, device="cpu", verbose=0)
    learner.learn(total)

    def rule(streams: object) -> Floats:
        actions, _ = learner.predict(streams.observation(), deterministic=True)  # type: ignore[attr-defined]
        utilities: Floats = np.eye(int(learner.action_space.n))[actions]  # type: ignore[attr-defined]
        return utilities

    return rule
