"""In which range what a log's decisions earned can lie, and that intervals with it hold the truth."""

import numpy as np
import pytest
from aamc_experiments.off_policy import bounded_outcomes, mean_interval

from aamc_sdk.routing import LinearReward
from aamc_sdk.types import Outcomes

SCALES = Outcomes(np.ones((1, 2)), np.array([[1.0, 3.0]]), np.array([[100.0, 200.0]]))


@pytest.fixture
def reward() -> LinearReward:
    """Return a reward whose cheapness is (3 - cost) / 2 and quickness (200 - latency) / 100."""
    found = LinearReward()
    found.fit(SCALES)
    return found


def figures(reward, quality, cost, latency, preference=(0.8, 0.1, 0.1), expected=None, possible=None):
    """Return the figures of decisions between two candidates, of which nothing was expected unless it is said."""
    rows = len(quality)
    earned = Outcomes(*(np.array(values, dtype=float)[:, None] for values in (quality, cost, latency)))
    expected = Outcomes(*np.full((3, rows, 2), np.nan)) if expected is None else expected
    possible = np.ones((rows, 2), dtype=bool) if possible is None else possible
    return bounded_outcomes(earned, expected, possible, reward, np.tile(preference, (rows, 1)))


def test_costs_and_latencies_reach_as_far_again_as_they_were_seen_to(reward) -> None:
    found = figures(reward, [1, 1], cost=[1.0, 3.0], latency=[180.0, 200.0])
    assert (found["cost_usd"].low, found["cost_usd"].high) == (0, 5)  # not below nothing
    assert (found["latency_ms"].low, found["latency_ms"].high) == (160, 220)


def test_what_was_expected_of_a_possible_choice_counts_as_seen(reward) -> None:
    expected = Outcomes(np.full((1, 2), np.nan), np.array([[1.0, 4.0]]), np.array([[100.0, 900.0]]))
    found = figures(reward, [1], cost=[1.0], latency=[100.0], expected=expected)
    assert found["cost_usd"].high == 7
    found = figures(reward, [1], cost=[1.0], latency=[100.0], expected=expected, possible=np.array([[True, False]]))
    assert found["cost_usd"].high == 1


def test_utility_reaches_from_the_worst_answer_to_the_best_though_all_were_good(reward) -> None:
    found = figures(reward, [1, 1], cost=[1.0, 3.0], latency=[180.0, 200.0])["utility"]
    assert found.low == pytest.approx(0.1 * (3 - 5) / 2 + 0.1 * (200 - 220) / 100)
    assert found.high == pytest.approx(0.8 + 0.1 * 3 / 2 + 0.1 * (200 - 160) / 100)


def test_an_unknown_cost_leaves_unknown_what_weighs_it(reward) -> None:
    found = figures(reward, [1, 0], cost=[np.nan, np.nan], latency=[180.0, 200.0])
    assert not found["cost_usd"].known.any()
    assert not found["utility"].known.any()
    assert np.isnan(found["utility"].low)
    found = figures(reward, [1, 0], cost=[np.nan, np.nan], latency=[180.0, 200.0], preference=(1, 0, 0))["utility"]
    assert (found.low, found.high) == (0, 1)


def test_intervals_of_utility_hold_the_truth_where_failures_are_rare(reward) -> None:
    generator, held, logs = np.random.default_rng(0), 0, 200
    truth = 0.985 * 0.9 + 0.1 * 0.5
    for _ in range(logs):
        quality, cost = generator.random(100) < 0.985, generator.choice([1.0, 3.0], size=100)
        found = figures(reward, quality, cost, np.full(100, 100.0), preference=(0.9, 0.1, 0.0))["utility"]
        low, high = mean_interval(found.values, found.low, found.high)
        held += low <= truth <= high
    assert held >= 0.93 * logs


def test_intervals_of_skewed_costs_hold_the_truth(reward) -> None:
    generator, held, logs = np.random.default_rng(0), 0, 200
    for _ in range(logs):
        cost = np.exp(1.5 * generator.normal(size=100) - 1.5**2 / 2)
        found = figures(reward, np.ones(100), cost, np.full(100, 100.0))["cost_usd"]
        low, high = mean_interval(found.values, found.low, found.high)
        held += low <= 1 <= high
    assert held >= 0.93 * logs
