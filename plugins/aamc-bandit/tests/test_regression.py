"""Bayesian linear regression: against ridge on all data at once."""

from __future__ import annotations

import numpy as np
import pytest
from aamc_bandit.linear.regression import CoefficientPosterior, SufficientStatistics

WIDTH = 5


def data(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, WIDTH)), rng.random(count), rng.uniform(0.1, 1, count)


def learned(x: np.ndarray, y: np.ndarray, weight: np.ndarray, discount: float = 1.0) -> SufficientStatistics:
    evidence = SufficientStatistics.zeros(x.shape[1])
    for row in range(len(x)):
        evidence.add(x[row], y[row], weight[row], discount)
    return SufficientStatistics.stacked([evidence], x.shape[1])


def test_the_posterior_is_ridge_on_all_data() -> None:
    x, y, weight = data(60)
    penalty, centre = np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([0.5, 0, 0, -0.5, 1])
    posterior = CoefficientPosterior.of(learned(x, y, weight), centre[None], penalty)
    stacked = np.vstack((np.sqrt(weight)[:, None] * x, np.diag(np.sqrt(penalty))))  # ridge as least squares with rows for the prior
    target = np.concatenate((np.sqrt(weight) * y, np.sqrt(penalty) * centre))
    assert posterior.mean[0] == pytest.approx(np.linalg.lstsq(stacked, target, rcond=None)[0], rel=1e-9)
    assert posterior.covariance[0] == pytest.approx(np.linalg.inv(stacked.T @ stacked), rel=1e-9)


def test_discounting_is_weights_that_fall_by_powers_of_the_later_weight() -> None:
    x, y, weight = data(40)
    falling = weight * 0.9 ** (weight.sum() - weight.cumsum())
    discounted, weighed = learned(x, y, weight, discount=0.9), learned(x, y, falling)
    assert discounted.precision == pytest.approx(weighed.precision, rel=1e-9)
    assert discounted.response == pytest.approx(weighed.response, rel=1e-9)
    assert discounted.count == pytest.approx(falling.sum())


def test_predictions_have_the_posteriors_mean_and_variance() -> None:
    x, y, weight = data(30)
    posterior = CoefficientPosterior.of(learned(x, y, weight), np.zeros((1, WIDTH)), np.ones(WIDTH))
    mean, variance = posterior.predict(x[:3])
    assert mean[:, 0] == pytest.approx(x[:3] @ posterior.mean[0])
    assert variance[:, 0] == pytest.approx([row @ posterior.covariance[0] @ row for row in x[:3]])


def test_numbers_that_were_zero_so_far_change_nothing() -> None:
    x, y, weight = data(30)
    wide = np.pad(x, ((0, 0), (0, 2)))
    evidence = SufficientStatistics.zeros(WIDTH)
    for row in range(15):
        evidence.add(x[row], y[row], weight[row], 0.99)
    evidence = evidence.widened(WIDTH + 2)
    for row in range(15, 30):
        evidence.add(wide[row], y[row], weight[row], 0.99)
    at_once = learned(wide, y, weight, 0.99)
    assert np.array_equal(evidence.precision, at_once.precision[0])
    assert np.array_equal(evidence.response, at_once.response[0])
