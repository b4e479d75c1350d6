"""One scenario and seed: the world, the measured policies, and their rewards on the same streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
from aamc_environments.queue import QueueEnvironment, QueueOptions, QueueStreams, Rule, read_world, sample_queries

from aamc_sdk import Pool, Services
from aamc_sdk.config import configure
from aamc_sdk.errors import PluginError
from aamc_sdk.routing import LinearReward
from aamc_sdk.types import Floats

REWARDS_FILE = "rewards.npz"
QUERIES = {"train": 8000, "validation": 1000, "test": 4000}
"""Queries of the splits."""
ESTIMATE_ERROR = 0.1
"""Standard deviation of the error of ``greedy``'s estimates, unless option noise of the environment is given."""


@attrs.frozen
class ScenarioWorld:
    """A scenario's environment, with queries of its own distribution and the reward fitted to them.

    Attributes:
        environment: The environment, with true expectations.
        services: Its pool and reward.
        estimate_error: Standard deviation of the error of ``greedy``'s estimates.
    """

    environment: QueueEnvironment
    services: Services
    estimate_error: float

    @classmethod
    def of(cls, pool: Pool, options: Mapping[str, Any], seed: int, scales: Mapping[str, Any] | None = None) -> ScenarioWorld:
        """Build the environment; its option noise is the error of ``greedy``'s estimates alone.

        Args:
            pool: The candidates.
            options: Options of environment ``queue``.
            seed: The seed of queries and outcomes.
            scales: Options of reward ``linear``.

        Raises:
            ConfigError: An option is wrong.
            PoolError: The pool lacks candidates that the scenario needs.
        """
        reward = LinearReward(configure(LinearReward.Config, scales or {}, where="reward"))
        services = Services(pool=pool, reward=reward, make=_nothing, seed=seed)
        config = configure(QueueOptions, {"noise": ESTIMATE_ERROR, **options}, where="environment")
        environment = QueueEnvironment(attrs.evolve(config, noise=0.0), services)
        world = read_world(config.world)
        environment.prepare({name: sample_queries(world, size, 3 * seed + number) for number, (name, size) in enumerate(QUERIES.items())})
        outcomes = environment.dataset("train").outcomes
        assert outcomes is not None  # the simulator samples them
        reward.fit(outcomes)
        return cls(environment, services, config.noise)

    def streams(self, n: int, preference: Floats, seed: int, noise: float = 0.0) -> QueueStreams:
        """Return n test streams of one preference; the same ones for the same seed, with estimates of this error."""
        config = attrs.evolve(self.environment.config, noise=noise)
        environment = QueueEnvironment(config, self.services)
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


def greedy_truth_rule(streams: QueueStreams) -> Floats:
    """Return the true expected rewards."""
    request = streams.request()
    assert request.hindsight is not None
    return streams.setup.reward.scalar(request.hindsight, request.preferences)


def _nothing(kind: str, name: str, options: Any) -> Any:
    raise PluginError(f"aamc bench control cannot make other components, such as {kind} {name!r}")
