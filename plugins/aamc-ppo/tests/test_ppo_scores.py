"""Scores where figures are unknown, scales are narrow, or the reward changes."""

import attrs
import numpy as np
import pytest
from aamc_ppo.ppo import initial_policy
from aamc_ppo.router import PPOConfig, PPORouter
from hypothesis import given
from hypothesis import strategies as st

from aamc_sdk import Services
from aamc_sdk.routing import LinearReward, Scale
from aamc_sdk.testing import POOL, make_dataset, make_request, make_reward
from aamc_sdk.testing.world import CATEGORIES

DATASET = make_dataset(12)
REQUEST = attrs.evolve(make_request(DATASET), mask=np.random.default_rng(0).random((12, len(POOL))) < 0.8, masked_why={})


def router_of(reward, **options):
    return PPORouter(PPOConfig(**options), Services(pool=POOL, reward=reward, make=lambda *_: None))


def trained_router(reward):
    """Return a router with a policy far from the plug-in rule."""
    rng, router = np.random.default_rng(0), router_of(reward, hidden=8, embedding=4)
    begun = initial_policy(router.config, len(CATEGORIES), rng)
    router._policy = {name: rng.normal(scale=0.5, size=array.shape).astype(np.float32) for name, array in begun.items()}
    router._categories = CATEGORIES
    return router


def scaled(cost):
    reward = LinearReward()
    reward.cost, reward.latency = cost, Scale()
    return reward


@given(least=st.floats(1e-9, 10), span=st.floats(1e-16, 1))
def test_a_narrow_scale_does_not_drown_quality(least, span):
    router = router_of(scaled(Scale.of(np.array([least, least * (1 + span)]))))
    alike = attrs.evolve(REQUEST.expected, cost_usd=np.full(REQUEST.mask.shape, least))
    together = router.score(attrs.evolve(REQUEST, expected=alike)).utility
    alone = [router.score(attrs.evolve(REQUEST, expected=alike).take(np.array([row]))).utility[0] for row in range(len(REQUEST))]
    np.testing.assert_allclose(alone, together, atol=5e-5)


@pytest.mark.parametrize("hide", ["quality", "one quality", "cost", "complexity", "category"])
@pytest.mark.parametrize("rows", [1, 2])
def test_requests_with_unknown_figures_are_scored(hide, rows):
    one = attrs.evolve(REQUEST, mask=np.ones(REQUEST.mask.shape, bool)).take(slice(rows))
    nothing, gap = np.full((rows, len(POOL)), np.nan), one.expected.quality.copy()
    gap[0, 1] = np.nan
    hidden = {
        "quality": lambda: attrs.evolve(one, expected=attrs.evolve(one.expected, quality=None)),
        "one quality": lambda: attrs.evolve(one, expected=attrs.evolve(one.expected, quality=gap)),
        "cost": lambda: attrs.evolve(one, expected=attrs.evolve(one.expected, cost_usd=nothing)),
        "complexity": lambda: attrs.evolve(one, estimates=attrs.evolve(one.estimates, complexity=np.full(rows, np.nan))),
        "category": lambda: attrs.evolve(one, estimates=attrs.evolve(one.estimates, categories=np.full((rows, len(CATEGORIES)), np.nan))),
    }[hide]()
    assert np.isfinite(trained_router(make_reward(DATASET)).score(hidden).utility).all()


@pytest.mark.parametrize("least", [1e-40, 1e-300, 1e-310])
def test_scales_too_small_for_32_bits_give_finite_scores(least):
    tiny = attrs.evolve(REQUEST, expected=attrs.evolve(REQUEST.expected, cost_usd=np.full(REQUEST.mask.shape, least)))
    assert np.isfinite(router_of(scaled(Scale(least, 2 * least))).score(tiny).utility).all()


def test_a_masked_candidate_without_figures_changes_nothing_for_others():
    gaps = np.where(REQUEST.mask, REQUEST.expected.cost_usd, np.nan)
    gaps[0] = REQUEST.expected.cost_usd[0]  # the gaps are in other rows than the first
    hidden = attrs.evolve(REQUEST, expected=attrs.evolve(REQUEST.expected, cost_usd=gaps))
    assert np.isnan(gaps).any()
    router = trained_router(make_reward(DATASET))
    known, unknown = router.score(REQUEST).utility, router.score(hidden).utility
    np.testing.assert_allclose(unknown[REQUEST.mask], known[REQUEST.mask], rtol=1e-4, atol=1e-4)


def test_a_reward_that_changes_is_noticed():
    reward, one = make_reward(DATASET), REQUEST.take(np.array([0]))
    router = router_of(reward)
    for factor in (1, 10):
        reward.fit(attrs.evolve(DATASET.outcomes, cost_usd=factor * DATASET.outcomes.cost_usd))
        assert router.score(one).utility == pytest.approx(reward.scalar(one.expected, one.preferences), abs=1e-5)
