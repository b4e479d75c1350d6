"""P(best) of many utilities: against closed forms and the quadratures for fewer candidates."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from aamc_bandit import best_of_many
from aamc_bandit.linear import normal_quadrature
from aamc_bandit.linear.normal_quadrature import normal_best_probabilities
from aamc_bandit.thompson import beta_quadrature
from aamc_bandit.thompson.beta_quadrature import beta_best_probabilities

COUNT = 2 * best_of_many.MANY
ONES, ZEROS = np.ones(COUNT), np.zeros(COUNT)


def test_equal_candidates_are_equally_likely() -> None:
    assert beta_best_probabilities(3 * ONES, 2 * ONES, ONES, ZEROS) == pytest.approx(ONES / COUNT, abs=1e-12)


def test_candidates_without_a_failure_have_the_closed_form() -> None:
    alpha = np.linspace(1, 50, COUNT)  # integral of a x^(a - 1) times x^(sum of the others) dx
    assert beta_best_probabilities(alpha, ONES, ONES, ZEROS) == pytest.approx(alpha / alpha.sum(), abs=1e-9)


def test_a_step_within_the_range_has_the_closed_form() -> None:
    # uniform on [1/2, 3/2] against n uniform on [0, 1]: 1/2 + integral from 1/2 to 1 of x^n dx
    shift = np.where(np.arange(COUNT) == 7, 0.5, 0.0)
    assert beta_best_probabilities(ONES, ONES, ONES, shift)[7] == pytest.approx(0.5 + (1 - 0.5**COUNT) / COUNT, abs=1e-6)


def test_without_a_scale_the_greatest_shift_wins_and_equals_share() -> None:
    shift = np.where(np.arange(COUNT) < 4, 0.3, 0.1)
    assert beta_best_probabilities(3 * ONES, 2 * ONES, ZEROS, shift)[:5] == pytest.approx([0.25, 0.25, 0.25, 0.25, 0], abs=1e-9)


@pytest.mark.parametrize("max_evidence", [1.0, 10.0, 1e3, 1e6])
@pytest.mark.parametrize("costs", [0.0, 1e-4, 0.01, 0.3])
def test_beta_posteriors_match_the_quadrature(max_evidence: float, costs: float, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    alpha, beta = 0.5 + max_evidence ** rng.random((2, COUNT)) * rng.random((2, COUNT))
    arms = alpha, beta, rng.uniform(0.8, 1, COUNT), -costs * rng.random(COUNT)
    found = beta_best_probabilities(*arms)
    monkeypatch.setattr(beta_quadrature, "MANY", COUNT)
    assert found == pytest.approx(beta_best_probabilities(*arms), abs=2e-6)  # the quadrature's own error is up to 1e-5
    assert found.sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("widths", [0.0, 1.0, 2.5, 5.0])
def test_normal_posteriors_match_the_quadrature(widths: float, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    mean, sd, mask = rng.normal(0.5, 0.1, (2, COUNT)), 0.3 * 10 ** -(widths * rng.random((2, COUNT))), rng.random((2, COUNT)) < 0.9
    found = normal_best_probabilities(np.where(mask, mean, np.nan), sd, mask)
    assert normal_best_probabilities(mean[:0], sd[:0], mask[:0]).shape == (0, COUNT)
    monkeypatch.setattr(normal_quadrature, "MANY", COUNT)
    assert found == pytest.approx(normal_best_probabilities(mean, sd, mask), abs=1e-6)


def test_a_thousand_candidates_take_little_memory() -> None:
    rng = np.random.default_rng(0)
    ones, costs = np.ones(1000), 1e-3 * rng.random(1000)
    tracemalloc.start()
    beta_best_probabilities(ones, ones, ones, -costs)
    normal_best_probabilities(-costs[None], ones[None], np.ones((1, 1000), dtype=bool))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150e6
