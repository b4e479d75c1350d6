"""The served policy is the same function as the trained one."""

import attrs
import numpy as np
import pytest
from aamc_ppo.initial_parameters import initial_policy
from aamc_ppo.ppo import utility
from aamc_ppo.rollout import policy_query, with_length
from aamc_ppo.router import PPOConfig, PPORouter
from aamc_ppo.served_policy import ServedPolicy, query_features
from hypothesis import given
from hypothesis import strategies as st

from aamc_sdk import Services
from aamc_sdk.routing import LinearReward, Scale, encode, encode_queries
from aamc_sdk.testing import POOL, make_dataset, make_request, make_reward
from aamc_sdk.testing.sample_data import CATEGORIES

DATASET = make_dataset(12)
REQUEST = attrs.evolve(make_request(DATASET), mask=np.random.default_rng(0).random((12, len(POOL))) < 0.8, masked_why={})
ALL_ROWS, EACH_ROW = [slice(None)], [slice(row, row + 1) for row in range(len(REQUEST))]


def random_policy(seed):
    """Return a policy far from the plug-in rule."""
    rng = np.random.default_rng(seed)
    begun = initial_policy(8, 4, 40.0, len(CATEGORIES), rng)
    return {name: rng.normal(scale=0.5, size=array.shape).astype(np.float32) for name, array in begun.items()}


def scaled(cost, latency):
    reward = LinearReward()
    reward.cost, reward.latency = cost, latency
    return reward


def by_features(parameters, request, reward):
    features = encode(request, reward, CATEGORIES)
    embedded = ServedPolicy.of(parameters, request.pool, None).embedded
    pair = features.pair.swapaxes(1, 2)
    return utility(parameters, policy_query(features.query, pair), reward.weights(features.preference), pair, embedded)


def by_folding(parameters, request, reward):
    folded = ServedPolicy.of(parameters, request.pool, reward.affine).folded
    return folded.utilities(request, reward, CATEGORIES)


@pytest.mark.parametrize("categories", [(), ("chat", "code", "math"), ("math", "verse")])
def test_one_query_has_the_features_that_it_has_among_others(categories):
    rows = with_length(encode_queries(DATASET.queries, REQUEST.estimates, categories))
    for row in range(len(REQUEST)):
        assert query_features(REQUEST.take([row]), categories) == pytest.approx(rows[row])


@given(
    seed=st.integers(0, 1000),
    least=st.floats(0, 0.01),
    span=st.sampled_from([0.0, 0.02, 1.0]),
    slowest=st.sampled_from([2e3, 1e5, np.nan]),
    parts=st.sampled_from([ALL_ROWS, EACH_ROW]),
)
def test_the_folded_policy_is_the_same_function_where_a_candidate_is_allowed(seed, least, span, slowest, parts):
    reward = scaled(Scale(least, least + span), Scale(slowest / 10, slowest))
    request = attrs.evolve(REQUEST, preferences=np.random.default_rng(seed).dirichlet(np.ones(3), len(REQUEST)))
    parameters, allowed = random_policy(seed), request.mask
    expected = by_features(parameters, request, reward)[allowed]
    folded = np.concatenate([by_folding(parameters, request.take(rows), reward) for rows in parts])[allowed]
    np.testing.assert_allclose(folded, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@given(least=st.floats(1e-9, 10), span=st.floats(1e-16, 1))
def test_a_narrow_scale_does_not_drown_quality(least, span):
    reward = scaled(Scale.of(np.array([least, least * (1 + span)])), Scale())
    router = PPORouter(PPOConfig(), Services(pool=POOL, reward=reward, make=lambda *_: None))
    alike = attrs.evolve(REQUEST.expected, cost_usd=np.full(REQUEST.mask.shape, least))
    together = router.score(attrs.evolve(REQUEST, expected=alike)).utility
    alone = [router.score(attrs.evolve(REQUEST, expected=alike).take(np.array([row]))).utility[0] for row in range(len(REQUEST))]
    np.testing.assert_allclose(alone, together, atol=5e-5)


@pytest.mark.parametrize("hide", ["quality", "one quality", "cost", "complexity", "category", "wait"])
@pytest.mark.parametrize("rows", [1, 2])
def test_the_features_decide_where_a_figure_is_unknown_or_a_candidate_has_a_queue(hide, rows):
    reward, one = make_reward(DATASET), attrs.evolve(REQUEST, mask=np.ones(REQUEST.mask.shape, bool)).take(slice(rows))
    nothing, gap = np.full((rows, len(POOL)), np.nan), one.expected.quality.copy()
    gap[0, 1] = np.nan
    hidden = {
        "quality": lambda: attrs.evolve(one, expected=attrs.evolve(one.expected, quality=None)),
        "one quality": lambda: attrs.evolve(one, expected=attrs.evolve(one.expected, quality=gap)),
        "cost": lambda: attrs.evolve(one, expected=attrs.evolve(one.expected, cost_usd=nothing)),
        "complexity": lambda: attrs.evolve(one, estimates=attrs.evolve(one.estimates, complexity=np.full(rows, np.nan))),
        "category": lambda: attrs.evolve(one, estimates=attrs.evolve(one.estimates, categories=np.full((rows, len(CATEGORIES)), np.nan))),
        "wait": lambda: attrs.evolve(one, wait_ms=np.ones((rows, len(POOL)))),
    }[hide]()
    parameters = random_policy(0)
    router = PPORouter(PPOConfig(hidden=8, embedding=4), Services(pool=POOL, reward=reward, make=lambda *_: None))
    router._policy, router._categories = parameters, CATEGORIES  # as if trained
    np.testing.assert_allclose(router.score(hidden).utility, by_features(parameters, hidden, reward), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("least", [1e-40, 1e-300, 1e-310])
def test_scales_too_small_for_32_bits_are_not_folded(least):
    reward = scaled(Scale(least, 2 * least), Scale())
    router = PPORouter(PPOConfig(), Services(pool=POOL, reward=reward, make=lambda *_: None))
    tiny = attrs.evolve(REQUEST, expected=attrs.evolve(REQUEST.expected, cost_usd=np.full(REQUEST.mask.shape, least)))
    assert np.isfinite(router.score(tiny).utility).all()


def test_the_folded_policy_does_not_answer_for_no_rows():
    assert by_folding(random_policy(0), REQUEST.take(slice(0)), make_reward(DATASET)) is None


def test_a_masked_candidate_without_figures_changes_nothing_for_others():
    gaps = np.where(REQUEST.mask, REQUEST.expected.cost_usd, np.nan)
    gaps[0] = REQUEST.expected.cost_usd[0]  # the gaps are in rows other than the first
    hidden = attrs.evolve(REQUEST, expected=attrs.evolve(REQUEST.expected, cost_usd=gaps))
    assert np.isnan(gaps).any()
    router = PPORouter(PPOConfig(hidden=8, embedding=4), Services(pool=POOL, reward=make_reward(DATASET), make=lambda *_: None))
    router._policy, router._categories = random_policy(0), CATEGORIES  # as if trained
    known, unknown = router.score(REQUEST).utility, router.score(hidden).utility
    np.testing.assert_allclose(unknown[REQUEST.mask], known[REQUEST.mask], rtol=1e-4, atol=1e-4)


def test_a_reward_that_changes_is_noticed():
    reward, one = make_reward(DATASET), REQUEST.take(np.array([0]))
    router = PPORouter(PPOConfig(), Services(pool=POOL, reward=reward, make=lambda *_: None))
    for factor in (1, 10):
        reward.fit(attrs.evolve(DATASET.outcomes, cost_usd=factor * DATASET.outcomes.cost_usd))
        assert router.score(one).utility == pytest.approx(reward.scalar(one.expected, one.preferences), abs=1e-5)
