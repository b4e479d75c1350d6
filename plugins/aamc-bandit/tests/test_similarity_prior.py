"""Where candidates start that little is known of."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from aamc_bandit.linear.regression import SufficientStatistics
from aamc_bandit.linear.similarity_prior import prior_means, similarity

from aamc_sdk.types import Candidate, ModelSpec, Pool, Prices


def model(name: str, description: str, price: float) -> ModelSpec:
    return ModelSpec(name, description, prices=Prices(price, 2 * price))


CODE = "Writes and explains code in many languages."
POOL = Pool([model("a", CODE, 1.0), model("b", CODE, 1.2), model("c", "Tells stories to children.", 1.0), model("d", CODE, 30.0)])


def evidence(*mean_and_count: tuple[float, int]) -> SufficientStatistics:
    """Return evidence with one number, a constant."""
    each = [SufficientStatistics(np.array([[float(count)]]), np.array([mean * count]), np.array(float(count))) for mean, count in mean_and_count]
    return SufficientStatistics.stacked(each, 1)


def test_words_and_prices_make_candidates_alike() -> None:
    alike = similarity(POOL)
    assert alike == pytest.approx(alike.T)
    assert alike.diagonal().tolist() == [0] * 4
    assert alike[0, 1] > alike[0, 2]
    assert alike[0, 1] > alike[0, 3]
    prices = np.log10([1.01, 2.01]) - np.log10([1.21, 2.41])
    assert alike[0, 1] == pytest.approx(np.exp(-(prices**2).sum() / 2), rel=1e-5)


def test_an_unknown_price_is_neither_near_nor_far() -> None:
    alike = similarity(Pool([model("a", CODE, 1.0), Candidate("b", CODE), model("c", CODE, 100.0)]))
    assert alike[0, 2] < alike[0, 1] < 1


def test_a_thousand_candidates_take_little_memory() -> None:
    pool = Pool([model(f"m{number}", CODE, 1.0 + number) for number in range(1000)])
    tracemalloc.start()
    similarity(pool)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150e6


def test_a_candidate_starts_at_the_weighted_ridge_of_the_others() -> None:
    alike = np.array([[0, 0.5, 0.25], [0.5, 0, 0.1], [0.25, 0.1, 0.0]])
    found = prior_means(evidence((0.0, 0), (0.4, 10), (-0.2, 200)), alike, limit=50, prior_precision=np.array([2.0]))
    weights = 0.5 * 10, 0.25 * 50
    assert found[0, 0] == pytest.approx((weights[0] * 0.4 - weights[1] * 0.2) / (2 + sum(weights)))


def test_nothing_known_of_the_others_is_the_prior() -> None:
    assert not prior_means(evidence((0.0, 0), (0.0, 0)), np.array([[0, 0.5], [0.5, 0]]), 50, np.array([2.0])).any()
