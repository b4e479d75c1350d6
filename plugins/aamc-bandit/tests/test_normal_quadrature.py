"""P(best) of normal utilities: against adaptive quadrature, closed forms and draws."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from aamc_bandit.linear.normal_quadrature import ERROR, normal_best_probabilities
from scipy.integrate import quad
from scipy.stats import norm


def by_adaptive_quadrature(mean: np.ndarray, sd: np.ndarray, m: int) -> float:
    def integrand(u: float) -> float:
        others = [norm.cdf((u - mean[j]) / sd[j]) for j in range(len(mean)) if j != m]
        return float(norm.pdf((u - mean[m]) / sd[m]) / sd[m] * np.prod(others))

    bends = sorted(point for a, s in zip(mean, sd, strict=True) for point in (a - 4 * s, a, a + 4 * s))
    pieces = [(bends[0] - 50, bends[0]), *pairwise(bends), (bends[-1], bends[-1] + 50)]
    return sum(quad(integrand, *piece, epsabs=1e-10, limit=200)[0] for piece in pieces)


@pytest.mark.parametrize("seed", range(2))
def test_probabilities_are_those_of_adaptive_quadrature(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 5))
    mean, sd = rng.normal(0, 0.1, count), 10 ** rng.uniform(-2.5, 0, count)
    found = normal_best_probabilities(mean[None], sd[None], np.ones((1, count), dtype=bool))[0]
    assert found == pytest.approx([by_adaptive_quadrature(mean, sd, m) for m in range(count)], abs=ERROR)


def test_two_candidates_have_the_closed_form() -> None:
    mean, sd = np.array([[0.6, 0.5], [0.1, 0.9]]), np.array([[0.3, 0.4], [0.01, 1.0]])
    expected = norm.cdf((mean[:, 0] - mean[:, 1]) / np.hypot(sd[:, 0], sd[:, 1]))
    assert normal_best_probabilities(mean, sd, np.ones((2, 2), dtype=bool))[:, 0] == pytest.approx(expected, abs=ERROR)


def test_draws_of_the_posterior_agree() -> None:
    rng = np.random.default_rng(0)
    mean, sd = rng.normal(0.5, 0.1, 10), rng.uniform(0.02, 0.3, 10)
    draws = (mean + sd * rng.normal(size=(200_000, 10))).argmax(axis=1)
    frequency = np.bincount(draws, minlength=10) / len(draws)
    found = normal_best_probabilities(mean[None], sd[None], np.ones((1, 10), dtype=bool))[0]
    assert np.abs(found - frequency).max() < 4 * np.sqrt(0.25 / len(draws))


def test_masked_candidates_have_none_and_the_others_are_as_if_alone() -> None:
    mean, sd = np.array([[0.9, 0.5, 0.6]]), np.array([[0.1, 0.1, 0.2]])
    masked = normal_best_probabilities(mean, sd, np.array([[False, True, True]]))
    assert masked[0, 0] == 0
    assert masked[:, 1:] == pytest.approx(normal_best_probabilities(mean[:, 1:], sd[:, 1:], np.ones((1, 2), dtype=bool)), abs=ERROR)


def test_what_is_masked_may_be_unknown() -> None:
    mean, sd, mask = np.array([[np.nan, 0.5, 0.6]]), np.array([[np.nan, 0.1, 0.2]]), np.array([[False, True, True]])
    known = normal_best_probabilities(mean[:, 1:], sd[:, 1:], mask[:, 1:])
    assert normal_best_probabilities(mean, sd, mask) == pytest.approx(np.insert(known, 0, 0.0, axis=1), abs=ERROR)


def test_utilities_that_are_certain_leave_no_doubt_and_ties_share() -> None:
    mean, certain = np.array([[0.5, 0.7, 0.7]]), np.zeros((1, 3))
    assert normal_best_probabilities(mean, certain, np.ones((1, 3), dtype=bool))[0] == pytest.approx([0, 0.5, 0.5], abs=ERROR)


@pytest.mark.parametrize("others", [1, 200])
def test_the_greatest_utility_is_the_best_however_far_from_zero(others: int) -> None:
    mean = np.array([[-1e12, *[-1e12 - 100] * others]])
    assert normal_best_probabilities(mean, np.zeros(mean.shape), np.ones(mean.shape, dtype=bool))[0] == pytest.approx([1, *[0] * others], abs=ERROR)


def test_rows_sum_to_one_in_batches_of_any_size() -> None:
    rng = np.random.default_rng(1)
    mean, sd, mask = rng.normal(size=(500, 12)), rng.uniform(1e-4, 1, (500, 12)), rng.random((500, 12)) < 0.7
    mask[:, 3] = True
    together = normal_best_probabilities(mean, sd, mask)
    assert together.sum(axis=1) == pytest.approx(np.ones(500))
    assert together[7] == pytest.approx(normal_best_probabilities(mean[7:8], sd[7:8], mask[7:8])[0], abs=1e-12)
    assert normal_best_probabilities(mean[:0], sd[:0], mask[:0]).shape == (0, 12)
