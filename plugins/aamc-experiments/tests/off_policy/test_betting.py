"""Intervals by betting: against brute force, published quantiles, closed forms, and the chance of an error."""

import math

import numpy as np
import pytest
from aamc_experiments.off_policy import LOG_WEALTH_BOUND, log_wealth, lower_bound_at_any_time, mean_interval
from aamc_experiments.off_policy.betting import SHARES, student_quantile


def best_log_wealth(values, mean, sizes):
    """Return max over f of log W(f, m) after losing one bet more, on a fine grid."""
    shares = np.linspace(0, 1 - 1e-9, 200_001)[:, None]
    gains = sum(np.log1p(shares * size * (value / mean - 1)) for value, size in zip(values, sizes, strict=True))
    return float((gains + np.log1p(-shares)).max())


@pytest.mark.parametrize(
    ("degrees", "published"), [(1, 12.706), (2, 4.303), (3, 3.182), (9, 2.262), (10, 2.228), (20, 2.086), (60, 2.000), (1e9, 1.960)]
)
def test_students_quantile_is_that_of_the_tables(degrees, published):
    assert student_quantile(degrees) == pytest.approx(published, abs=6e-4)


@pytest.mark.parametrize("sizes", [None, np.tile([1.0, 0.2], 15)])
def test_both_bounds_are_where_the_best_bet_has_won_enough(sizes):
    values = np.random.default_rng(0).beta(2, 3, size=30)
    low, high = mean_interval(values, 0.0, 1.0, sizes=sizes)
    enough, weights = student_quantile(29) ** 2 / 2, np.ones(30) if sizes is None else sizes
    assert best_log_wealth(values, low, weights) == pytest.approx(enough, abs=1e-4)
    assert best_log_wealth(1 - values, 1 - high, weights) == pytest.approx(enough, abs=1e-4)


def test_many_values_have_students_interval():
    values = np.random.default_rng(0).normal(0.5, 0.1, size=20_000).clip(0, 1)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert mean_interval(values, 0.0, 1.0) == pytest.approx([values.mean() - half, values.mean() + half], abs=half / 10)


def test_outcomes_that_never_differ_leave_room_for_one_that_was_not_seen():
    low, high = mean_interval(np.ones(30), 0.0, 1.0)
    assert high == 1.0
    assert 1 / 30 < 1 - low < 6 / 30


def test_the_interval_moves_with_the_values_and_their_unit():
    values = np.random.default_rng(0).random(40)
    low, high = mean_interval(values, 0.0, 1.0)
    assert mean_interval(3 * values - 1, -1.0, 2.0) == pytest.approx([3 * low - 1, 3 * high - 1])
    assert mean_interval(-values, -1.0, 0.0) == pytest.approx([-high, -low])


def test_values_without_weight_say_nothing():
    values, sizes = np.array([0.2, 0.9, 0.4] * 10), np.array([1.0, 0.0, 1.0] * 10)
    assert mean_interval(values, 0.0, 1.0, sizes=sizes, effective=20) == pytest.approx(
        mean_interval(values[sizes > 0], 0.0, 1.0, effective=20), abs=1e-6
    )


def test_a_value_that_cannot_vary_is_known():
    assert mean_interval(np.full(5, 2.0), 2.0, 2.0) == [2.0, 2.0]


def test_one_fair_bet_by_hand():
    assert log_wealth(np.array([1.0, 0.0]), 0.0, 0.5) == pytest.approx(
        [math.log(np.mean(1 + SHARES)), math.log(np.mean((1 + SHARES) * (1 - SHARES)))]
    )


def test_a_bound_at_any_time_never_goes_back():
    values = (np.random.default_rng(0).random(400) < 0.7).astype(float)
    bounds = [lower_bound_at_any_time(values[:n], 0.0, 0.0, 1.0) for n in (0, 50, 100, 200, 400)]
    assert bounds[0] == pytest.approx(0.0, abs=1e-5)
    assert bounds == sorted(bounds)
    assert 0.5 < bounds[-1] < 0.7


def test_a_true_mean_is_refuted_at_whatever_moment_in_few_streams():
    generator = np.random.default_rng(0)
    streams = [(generator.random(1000) < 0.3).astype(float) for _ in range(300)]
    alarms = sum(
        log_wealth(values, 0.0, 0.3).max() >= LOG_WEALTH_BOUND or log_wealth(-values, -1.0, -0.3).max() >= LOG_WEALTH_BOUND for values in streams
    )
    assert alarms <= 0.05 * len(streams)


def test_rounding_beyond_the_range_does_no_harm():
    values = np.array([np.nextafter(0, -1), 0.5, np.nextafter(1, 2)] * 10)
    assert mean_interval(values, 0.0, 1.0) == pytest.approx(mean_interval(values.clip(0, 1), 0.0, 1.0))
