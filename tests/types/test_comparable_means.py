from __future__ import annotations

import numpy as np
import pytest

from aamc_sdk.types import Floats
from aamc_sdk.types.comparable_means import PRIOR, mean_amount, mean_quality, plain_means

NAN = np.nan
FUNCTIONS = (mean_quality, mean_amount)


@pytest.mark.parametrize("mean", FUNCTIONS)
@pytest.mark.parametrize("known", ["all", "whole rows of two candidates", "one in a row"])
def test_means_are_plain_ones_to_the_last_digit_where_rows_cannot_differ(mean, known):
    rng = np.random.default_rng(0)
    values = rng.random((50, 3))
    if known == "whole rows of two candidates":
        values[:, 1], values[::7] = NAN, NAN
    if known == "one in a row":
        values[np.arange(3) != rng.integers(0, 3, 50)[:, None]] = NAN
    np.testing.assert_array_equal(mean(values), plain_means(values))


def test_quality_is_compared_on_equal_rows():
    found = mean_quality(np.array([[0.0, 0.5, NAN], [0.5, NAN, NAN]]))
    np.testing.assert_allclose(found, [0.25, 0.625, NAN])  # the plain means are 0.25 and 0.5, and the second row is easier
    np.testing.assert_array_equal(mean_quality(np.array([[0.0, 1.0], [1.0, NAN]])), [0.5, 1.0])  # a quality is at most 1


def test_costs_satisfy_their_equations():
    costs = np.array([[1.0, 10.0, 0.0, NAN], [3.0, NAN, 0.0, NAN]])
    found = mean_amount(costs)
    a, b = found[:2]
    effects = np.array([(PRIOR + 1 / a + 10 / b) / (PRIOR + 2), (PRIOR + 3 / a) / (PRIOR + 1)])
    np.testing.assert_allclose([a, b], [4 / effects.sum(), 10 / effects[0]])
    np.testing.assert_array_equal(found[2:], [0.0, NAN])
    assert b > 10  # the second question is longer


def outcomes(seed: int, missing: str) -> tuple[Floats, Floats, np.ndarray]:
    """Return quality and costs of 300 questions and 4 candidates, and which cells are known."""
    rng = np.random.default_rng(seed)
    difficulty, length = rng.normal(0, 1.3, 300), np.exp(rng.normal(0, 1, 300))
    quality = (rng.random((300, 4)) < 1 / (1 + np.exp(difficulty[:, None] - [-1.2, -0.4, 0.4, 1.2]))).astype(float)
    costs = np.array([1.0, 5.0, 20.0, 100.0]) * length[:, None] * np.exp(rng.normal(0, 0.5, (300, 4)))
    known = np.ones((300, 4), dtype=bool)
    if missing == "at random":
        known = rng.random((300, 4)) < 0.5
    elif missing == "where it is easy":
        known[:, 3] = rng.random(300) < np.where(difficulty > 0.4, 0.9, 0.1)
    else:
        known[:, 0] = length < 1.3
    return quality, costs, known


@pytest.mark.parametrize(
    ("missing", "quality_factor", "cost_factor"), [("at random", 1.03, 0.85), ("where it is easy", 0.4, 0.75), ("where it is long", 1.1, 0.5)]
)
def test_errors_are_smaller_than_those_of_plain_means(missing, quality_factor, cost_factor):
    errors = {mean: [[], []] for mean in (plain_means, *FUNCTIONS)}
    for seed in range(60):
        quality, costs, known = outcomes(seed, missing)
        for mean, found in errors.items():
            estimate = mean(np.where(known, quality, NAN)) - quality.mean(axis=0)
            found[0].append(estimate - estimate.mean())  # only differences between candidates matter
            found[1].append(mean(np.where(known, costs, NAN)) / costs.mean(axis=0) - 1)
    plain, of_quality, of_costs = ([float(np.sqrt(np.mean(np.square(each)))) for each in found] for found in errors.values())
    assert of_quality[0] < quality_factor * plain[0]
    assert of_costs[1] < cost_factor * plain[1]
