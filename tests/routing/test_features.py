import attrs
import numpy as np
import pytest

from aamc_sdk import Candidate, Latency, ModelSpec, Pool, Prices, Query
from aamc_sdk.routing import CANDIDATE_NUMBERS, WORD_BUCKETS, cache_read_cost, encode, encode_candidates, encode_pairs, encode_queries
from aamc_sdk.testing import POOL, make_dataset, make_request, make_reward
from aamc_sdk.types import Estimates, Outcomes

DATASET = make_dataset(8)
REQUEST = make_request(DATASET)
REWARD = make_reward(DATASET)
WIDTH = 4 + 3 + 3 + 7 * len(POOL)
"""Numbers of a query, three categories, the preference, and numbers of each pair."""


def test_a_flat_observation_has_the_documented_width():
    features = encode(REQUEST, REWARD)
    assert features.flat().shape == (8, WIDTH)
    assert features.flat().dtype == np.float32
    assert np.isfinite(features.flat()).all()


def test_a_flat_observation_is_query_preference_and_pairs_in_order():
    features = encode(REQUEST, REWARD)
    flat = features.flat()
    assert flat[:, :7].tolist() == features.query.tolist()
    assert flat[:, 7:10].tolist() == features.preference.tolist()
    assert flat[2, 10:17].tolist() == features.pair[2, 0].tolist()


def test_a_querys_features_by_hand():
    estimates = Estimates(np.array([0.25]), np.array([[0.4, 0.6]]), ("code", "math"), np.array([0.75]))
    row = encode_queries([Query("", prompt_tokens=99, output_tokens=9)], estimates)[0]
    assert row == pytest.approx([0.25, 0.75, np.log(100) / 10, np.log(10) / 10, 0.4, 0.6])


def test_what_is_not_known_of_a_query_has_a_neutral_value():
    row = encode_queries([Query("")], Estimates.unknown(1), ("code", "math"))[0]
    assert row == pytest.approx([0.5, 0.0, 0.0, np.log1p(256) / 10, 0.0, 0.0])


def test_categories_follow_the_order_that_the_policy_was_trained_with():
    forwards = encode_queries(DATASET.queries, REQUEST.estimates, ("chat", "code", "math"))
    backwards = encode_queries(DATASET.queries, REQUEST.estimates, ("math", "code", "chat"))
    assert forwards[:, 4:].tolist() == backwards[:, :3:-1].tolist()


def test_pairs_are_the_rewards_objectives_the_wait_and_the_mask():
    waits = np.full(REQUEST.mask.shape, 1000.0)
    cache_read_usd = cache_read_cost(REQUEST.queries, POOL)
    pairs = encode_pairs(REQUEST.expected, waits, REQUEST.mask, REWARD, cache_read_usd=cache_read_usd)
    assert pairs[..., :3] == pytest.approx(REWARD.vector(REQUEST.expected), rel=1e-5)
    assert pairs[..., 3] == pytest.approx(np.log(2))
    assert not pairs[..., 4].any()
    slopes, offsets = REWARD.affine
    assert pairs[..., 5] == pytest.approx(1 + cache_read_usd * slopes[1] / offsets[1], rel=1e-5)
    assert pairs[..., 6].astype(bool).tolist() == REQUEST.mask.tolist()
    assert encode_pairs(REQUEST.expected, waits, REQUEST.mask, REWARD, waits / 4000, cache_read_usd=cache_read_usd)[..., 4] == pytest.approx(0.25)


def test_unknown_outcomes_are_finite_features():
    nothing = np.full((1, 2), np.nan)
    pairs = encode_pairs(Outcomes(None, nothing, nothing), np.zeros((1, 2)), np.ones((1, 2), bool), REWARD, cache_read_usd=nothing)
    assert pairs[0, 0].tolist() == [0.5, 0, 0, 0, 0, 0, 1]


def test_the_cost_of_reading_a_conversation_from_a_cache_by_hand():
    pool = Pool([ModelSpec("cached", prices=Prices(1.0, 3.0, cached_input=0.1)), ModelSpec("full", prices=Prices(1.0, 3.0)), Candidate("agent")])
    cost = cache_read_cost([Query("", prompt_tokens=900, output_tokens=100), Query("", prompt_tokens=9_000, output_tokens=1_000)], pool)
    assert cost == pytest.approx(np.array([[1e-4, 1e-3, 1e-3], [1e-3, 1e-2, 1e-2]]))


def test_candidates_are_described_and_never_numbered():
    order = [3, 1, 0, 2]
    permuted = Pool(POOL.candidates[m] for m in order)
    assert encode_candidates(permuted).tolist() == encode_candidates(POOL)[order].tolist()
    renamed = Pool([attrs.evolve(POOL.candidates[0], name="other")])
    assert encode_candidates(renamed).tolist() == encode_candidates(POOL)[:1].tolist()


def test_a_candidates_numbers_by_hand():
    spec = ModelSpec("a", prices=Prices(1.0, 3.0), latency=Latency(9.0, 99.0), context_window=999)
    numbers = encode_candidates(Pool([spec]))[0, : len(CANDIDATE_NUMBERS)]
    assert numbers == pytest.approx([np.log(2), np.log(4), 1, np.log(10) / 10, np.log(100) / 10, 1, np.log(1000) / 10])


def test_a_candidate_without_figures_has_zeros_and_is_known_by_its_name():
    features = encode_candidates(Pool([Candidate("agent"), Candidate("model")]))
    assert not features[:, : len(CANDIDATE_NUMBERS)].any()
    assert features[0].tolist() != features[1].tolist()


def test_words_are_hashed_to_unit_length_and_differ_by_meaning():
    described = [Candidate("a", "Good at code"), Candidate("b", "GOOD at code!"), Candidate("c", "Good at verse"), Candidate("d", "", {"tools"})]
    words = encode_candidates(Pool(described))[:, len(CANDIDATE_NUMBERS) :]
    assert words.shape == (4, WORD_BUCKETS)
    assert np.linalg.norm(words, axis=1) == pytest.approx(1)
    assert words[0].tolist() == words[1].tolist()
    assert words[0].tolist() != words[2].tolist()


def test_an_empty_batch_has_empty_features():
    none = REQUEST.take(np.empty(0, dtype=np.intp))
    assert encode(none, REWARD).flat().shape == (0, WIDTH)
