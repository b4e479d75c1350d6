"""One request at a time is scored by a folded policy: the same function as that of many, wherever it answers."""

import attrs
import numpy as np
import pytest
from aamc_ppo import policy
from aamc_ppo.folded import Prepared
from aamc_ppo.router import PPOConfig, PPORouter
from hypothesis import given
from hypothesis import strategies as st

from aamc_sdk import Services
from aamc_sdk.features import encode
from aamc_sdk.rewards import LinearReward, Scale
from aamc_sdk.testing.world import CATEGORIES, POOL, make_dataset, make_request, make_reward

DATASET = make_dataset(12)
REQUEST = attrs.evolve(make_request(DATASET), mask=np.ones((12, len(POOL)), bool), masked_why={})


def random_policy(seed):
    """Return a policy far from the plug-in rule that every policy begins as."""
    rng = np.random.default_rng(seed)
    begun = policy.initial_policy(rng, len(CATEGORIES), hidden=8, embedding=4, temperature=50.0)
    return {name: rng.normal(scale=0.5, size=array.shape).astype(np.float32) for name, array in begun.items()}


def scaled(cost, latency):
    reward = LinearReward()
    reward.cost, reward.latency = cost, latency
    return reward


def by_features(parameters, request, reward):
    features = encode(request, reward, CATEGORIES)
    embedded = Prepared.of(parameters, request.pool, None).embedded
    return policy.utility(parameters, features.query, reward.weights(features.preference), features.pair.swapaxes(1, 2), embedded)


def by_folding(parameters, request, reward):
    """Return the utilities of each request alone, ``[B, M]``, None where the folded policy does not answer."""
    folded = Prepared.of(parameters, request.pool, reward.affine).folded
    alone = [request.take(np.array([row])) for row in range(len(request))]
    return [folded.utilities(one, reward.weights(one.preferences[0].astype(np.float32)), CATEGORIES) for one in alone]


@given(
    seed=st.integers(0, 1000),
    least=st.floats(0, 0.01),
    span=st.sampled_from([0.0, 0.02, 1.0]),
    slowest=st.sampled_from([2e3, 1e5, np.nan]),
)
def test_it_is_the_same_function(seed, least, span, slowest):
    reward = scaled(Scale(least, least + span), Scale(slowest / 10, slowest))
    request = attrs.evolve(REQUEST, preferences=np.random.default_rng(seed).dirichlet(np.ones(3), len(REQUEST)))
    parameters = random_policy(seed)
    expected, folded = by_features(parameters, request, reward), np.concatenate(by_folding(parameters, request, reward))
    np.testing.assert_allclose(folded, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@given(least=st.floats(1e-9, 10), span=st.floats(1e-16, 1))
def test_a_narrow_scale_does_not_drown_quality(least, span):
    reward = scaled(Scale.of(np.array([least, least * (1 + span)])), Scale())
    router = PPORouter(PPOConfig(), Services(pool=POOL, reward=reward, make=lambda *_: None))
    alike = attrs.evolve(REQUEST.expected, cost_usd=np.full(REQUEST.mask.shape, least))
    together = router.score(attrs.evolve(REQUEST, expected=alike)).utility
    alone = [router.score(attrs.evolve(REQUEST, expected=alike).take(np.array([row]))).utility[0] for row in range(len(REQUEST))]
    np.testing.assert_allclose(alone, together, atol=5e-5)


@pytest.mark.parametrize("hide", ["quality", "one quality", "cost", "complexity", "category", "mask", "wait"])
def test_it_leaves_alone_what_it_does_not_hold_for(hide):
    reward, one = make_reward(DATASET), REQUEST.take(np.array([0]))
    nothing, gap = np.full((1, len(POOL)), np.nan), one.expected.quality.copy()
    gap[0, 1] = np.nan
    hidden = {
        "quality": lambda: attrs.evolve(one, expected=attrs.evolve(one.expected, quality=None)),
        "one quality": lambda: attrs.evolve(one, expected=attrs.evolve(one.expected, quality=gap)),
        "cost": lambda: attrs.evolve(one, expected=attrs.evolve(one.expected, cost_usd=nothing)),
        "complexity": lambda: attrs.evolve(one, estimates=attrs.evolve(one.estimates, complexity=np.array([np.nan]))),
        "category": lambda: attrs.evolve(one, estimates=attrs.evolve(one.estimates, categories=np.full((1, len(CATEGORIES)), np.nan))),
        "mask": lambda: attrs.evolve(one, mask=np.arange(len(POOL))[None] > 0),
        "wait": lambda: attrs.evolve(one, wait_ms=np.ones((1, len(POOL)))),
    }[hide]()
    parameters = random_policy(0)
    assert by_folding(parameters, hidden, reward) == [None]
    router = PPORouter(PPOConfig(hidden=8, embedding=4), Services(pool=POOL, reward=reward, make=lambda *_: None))
    router._policy, router._categories = parameters, CATEGORIES  # as if trained
    np.testing.assert_allclose(router.score(hidden).utility, by_features(parameters, hidden, reward), rtol=1e-5)


def test_a_reward_that_changes_is_noticed():
    reward, one = make_reward(DATASET), REQUEST.take(np.array([0]))
    router = PPORouter(PPOConfig(), Services(pool=POOL, reward=reward, make=lambda *_: None))
    for factor in (1, 10):
        reward.fit(attrs.evolve(DATASET.outcomes, cost_usd=factor * DATASET.outcomes.cost_usd))
        assert router.score(one).utility == pytest.approx(reward.scalar(one.expected, one.preferences), abs=1e-5)
