"""The simulator as a ``gymnasium.Env``: one stream, without a dataset.

Queries follow the world's own distribution, and the reward is fitted to them.
"""

from __future__ import annotations

from numbers import Integral
from operator import index
from typing import Any

import gymnasium
import numpy as np

from aamc_environments.queue.environment import QueueEnvironment
from aamc_environments.queue.options import QueueOptions
from aamc_environments.queue.single_stream import SingleQueueStream
from aamc_environments.streams import OBSERVATION_BOUND, RESET_FIRST, Streams
from aamc_sdk import Pool
from aamc_sdk.config import check_seed, configure
from aamc_sdk.errors import ConfigError
from aamc_sdk.routing import Array32, LinearReward, default_pool

SPLIT = "train"


def standalone(pool: Pool | None = None, queries: int = 4096, seed: int = 0, **options: Any) -> QueueEnvironment:
    """Return the simulator with sampled queries as split ``"train"`` and the default reward fitted to them.

    Args:
        pool: The candidates; the default pool when None.
        queries: The number of distinct queries.
        seed: The seed of the queries.
        options: Options of environment ``queue``.

    Raises:
        ConfigError: An option is unknown or wrong.
    """
    check_seed(seed)
    if not isinstance(queries, Integral) or queries < 1:
        raise ConfigError(f"queries must be a whole number of at least 1, not {queries!r}")
    config = configure(QueueOptions, options, where="queue")
    return QueueEnvironment.sampled(config, pool or default_pool(), LinearReward(), {SPLIT: (queries, seed)}, seed)


def make_streams(num_envs: int = 1, **options: Any) -> Streams:
    """Return the natively vectorised simulator, for ``gymnasium.make_vec``."""
    return standalone(**options).vector(num_envs, SPLIT)


class QueueEnv(gymnasium.Env[Array32, np.int64]):
    """One stream of the simulator, with the arguments of :func:`standalone`; its reward is the preference-weighted one."""

    metadata = {"render_modes": []}  # noqa: RUF012  # as Gymnasium declares it

    def __init__(self, **options: Any) -> None:
        stream = make_streams(1, **options)
        assert isinstance(stream, SingleQueueStream)  # as environment queue makes a single one
        self.stream = stream
        self.observation_space = stream.single_observation_space
        self.action_space = stream.single_action_space
        self._seeded = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array32, dict[str, Any]]:
        """Restart; without a seed the random numbers continue."""
        super().reset(seed=seed)
        if seed is None and not self._seeded:
            seed = int(self.np_random.integers(2**31))
        self._seeded = True
        return self.stream.reset(seed=seed)[0][0], {}

    def step(self, action: np.int64) -> tuple[Array32, Any, bool, bool, dict[str, Any]]:
        """Serve the present query by a candidate.

        Raises:
            InvalidAction: The action is not a candidate's number.
            ResetNeeded: The environment was not reset before its first step.
        """
        if not self._seeded:
            raise gymnasium.error.ResetNeeded(RESET_FIRST)
        try:
            candidate = index(action)
        except TypeError:
            candidates = len(self.stream.visible.pool)
            raise gymnasium.error.InvalidAction(f"an action is a whole number from 0 to {candidates - 1}, not {action!r:.80}") from None
        reward, info = self.stream.advance(candidate)
        horizon = self.stream.setup.horizon
        return self.stream.observe(), reward, False, horizon is not None and self.stream.clock >= horizon, info


class MOQueueEnv(QueueEnv):
    """One stream of the simulator with the vector reward (quality, cheapness, quickness), as MO-Gymnasium has it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        bound = np.full(3, OBSERVATION_BOUND, dtype=np.float32)
        self.reward_space = gymnasium.spaces.Box(-bound, bound)

    def step(self, action: np.int64) -> tuple[Array32, Any, bool, bool, dict[str, Any]]:
        """Serve the present query by a candidate."""
        observation, _, terminated, truncated, info = super().step(action)
        return observation, info["vector_reward"].astype(np.float32), terminated, truncated, info
