"""A contextual bandit whose best choices are known, as an environment to practise in."""

from __future__ import annotations

import numpy as np
import pytest
from aamc_ppo.router import PPOConfig, PPORouter

from aamc_sdk import Dataset, Estimates, Latency, ModelSpec, Outcomes, Pool, Prices, Query, Services, Training
from aamc_sdk.interfaces import Environment
from aamc_sdk.routing import LinearReward, build_request, encode

CATEGORIES = ("chat", "code", "maths", "tools")
POOL = Pool(
    ModelSpec(name, f"Model {name}.", prices=Prices(price, 2 * price), latency=Latency(20, service_ms))
    for name, price, service_ms in (("a", 0.1, 200), ("b", 0.5, 500), ("c", 1.0, 700), ("d", 4.0, 1500), ("e", 10.0, 3000))
)


class BanditStreams:
    """Streams whose queries are one category each; success is a coin with the true quality. Those of the same number draw the same."""

    def __init__(self, env, n, seed, streams, preferences):
        self.num_envs, self.env, self.preferences = n, env, preferences
        self.numbers = np.arange(n) if streams is None else streams
        self.rng, self.steps = np.random.default_rng(seed), 0
        each = env.request(np.arange(len(CATEGORIES)), np.zeros(3))
        self.features, self.expected = encode(each, env.reward), each.expected

    def request(self):
        return self.env.request(self.category, self.preferences)

    def observations(self):
        self.category = self.rng.integers(len(CATEGORIES), size=self.num_envs)[self.numbers]
        query, pair = self.features.query[self.category], self.features.pair[self.category]
        return np.concatenate((query, self.preferences, pair.reshape(self.num_envs, -1)), axis=1, dtype=np.float32)

    def reset(self, *, seed=None, options=None):
        self.rng = np.random.default_rng(seed)
        return self.observations(), {}

    def step(self, actions):
        chosen = (self.category, actions)
        success = (self.rng.random(self.num_envs)[self.numbers] < self.env.truth[chosen]).astype(float)
        happened = Outcomes(success, self.expected.cost_usd[chosen], self.expected.latency_ms[chosen])
        vector = self.env.reward.vector(happened)
        if self.env.broken:
            vector[0, 0] = np.nan
        self.steps += 1
        never, row = np.zeros(self.num_envs, bool), self.env.rows[self.steps % len(self.env.rows), self.category]
        return self.observations(), (vector * self.preferences).sum(axis=1), never, never, {"vector_reward": vector, "row": row}


class Bandit(Environment):
    """An environment of such streams.

    Args:
        truth: Probability of success by category and candidate, ``[C, M]``.
        expected: What a router is told of it, ``[C, M]``; None for nothing.
        broken: Whether it rewards with NaN.
    """

    stationary = False  # success is a coin

    def __init__(self, truth, expected=None, pool=POOL, broken=False):
        self.truth, self.expected, self.pool, self.broken = truth, expected, pool, broken
        self.text = "What?"
        self.rows = np.arange(30 * len(CATEGORIES)).reshape(30, -1)  # each category has 30, which are asked in turn
        self.reward = LinearReward()
        everything = self.request(np.arange(len(CATEGORIES)), np.array((1.0, 0.0, 0.0)))
        self.reward.fit(Outcomes(truth, everything.expected.cost_usd, everything.expected.latency_ms))

    def prepare(self, splits):
        pass

    def dataset(self, split):
        return Dataset([Query("?")] * self.rows.size)

    def request(self, category, preferences):
        unknown = np.full(len(category), np.nan)
        estimates = Estimates(unknown, np.eye(len(CATEGORIES))[category], CATEGORIES, unknown)
        quality = None if self.expected is None else self.expected[category]
        return build_request([Query(self.text)] * len(category), self.pool, preferences, estimates=estimates, quality=quality)

    def vector(self, n, split, *, request=None, seed=0, streams=None, preferences=None):
        return BanditStreams(self, n, seed, streams, preferences)

    def router(self, seed=0, **options):
        return PPORouter(PPOConfig(**options), Services(pool=self.pool, reward=self.reward, make=None, seed=seed, device="cpu"))

    def training(self, **options):
        return Training(dataset=self.dataset("train"), env=self, **options)

    def way_to_optimum(self, router):
        """Return how far from random (0) to optimal (1) a router's choices are, over categories and preferences."""
        steps = np.arange(6) / 5
        lattice = np.array([(a, b, 1 - a - b) for a in steps for b in steps if a + b < 1 + 1e-9])
        category = np.tile(np.arange(len(CATEGORIES)), len(lattice))
        request = self.request(category, np.repeat(lattice, len(CATEGORIES), axis=0))
        known = Outcomes(self.truth[category], request.expected.cost_usd, request.expected.latency_ms)
        worth = self.reward.scalar(known, request.preferences)
        chosen = router.score(request).utility.argmax(axis=1)
        got = worth[np.arange(len(worth)), chosen].mean()
        return (got - worth.mean()) / (worth.max(axis=1).mean() - worth.mean())


@pytest.fixture
def bandit():
    """Make a bandit from a seed; ``bias`` is the error of what routers are told of its qualities."""

    def make(seed=0, bias=None, **options):
        rng = np.random.default_rng(seed)
        truth = np.clip(np.linspace(0.3, 0.9, 5) + rng.normal(0, 0.2, (4, 5)), 0.02, 0.98)
        expected = None if bias is None else truth + rng.normal(0, bias, truth.shape)
        return Bandit(truth, expected, **options)

    return make
