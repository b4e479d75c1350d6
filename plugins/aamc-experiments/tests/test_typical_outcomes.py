"""Comparisons alone: what they say of the candidates."""

from __future__ import annotations

import numpy as np
import pytest
from aamc_experiments.typical_outcomes import Vote, bradley_terry, typical_outcomes, votes

from aamc_sdk import Candidate, Dataset, Decision, Estimates, Experience, Feedback, Latency, ModelSpec, Outcomes, Pool, Preference, Prices, Query
from aamc_sdk.errors import DataError

ASKED = Query("why?", prompt_tokens=1000, output_tokens=2000)


def cast(winner: str, loser: str, won: float = 1.0, weight: float = 1.0) -> Vote:
    return Vote(ASKED, winner, loser, won, weight)


def log_of(*feedback: Feedback) -> Experience:
    """Return a log of one decision, for a."""
    return Experience(2, [ASKED], Estimates.unknown(1), [Decision("1", "a", np.nan, Preference())], feedback)


def test_three_wins_of_four_are_a_lead_of_log_three() -> None:
    found = bradley_terry([cast("a", "b", weight=30_000), cast("b", "a", weight=10_000)])
    assert found["a"] == pytest.approx(np.sqrt(3) / (1 + np.sqrt(3)), abs=1e-4)  # sigmoid(log(3) / 2)
    assert found["a"] + found["b"] == pytest.approx(1)


def test_few_votes_are_drawn_to_one_half() -> None:
    score = -np.log(1 / bradley_terry([cast("a", "b")])["a"] - 1)
    assert score == pytest.approx(1 / (1 + np.exp(2 * score)))  # where the prior's pull is the likelihood's
    assert 0 < score < 0.5


def test_strength_counts_whom_one_beat() -> None:
    found = bradley_terry([cast("b", "c", weight=90), cast("c", "b", weight=10), cast("a", "b", weight=50), cast("b", "a", weight=50)])
    assert found["a"] == pytest.approx(found["b"], abs=0.02)  # though it never met c
    assert found["a"] > 0.6 > 0.3 > found["c"]


def test_the_scores_of_a_drawn_world_are_found() -> None:
    rng, truth = np.random.default_rng(0), np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    pairs = [rng.permutation(5)[:2] for _ in range(20_000)]
    drawn = [(i, j) if rng.random() < 1 / (1 + np.exp(truth[j] - truth[i])) else (j, i) for i, j in pairs]
    found = bradley_terry([cast(str(i), str(j)) for i, j in drawn])
    chance = np.array([found[str(m)] for m in range(5)])
    np.testing.assert_allclose(np.log(chance / (1 - chance)), truth, atol=0.1)


def test_a_tie_is_half_a_win_for_either() -> None:
    assert bradley_terry([cast("a", "b", won=0.5)]) == pytest.approx({"a": 0.5, "b": 0.5})


def test_who_never_lost_is_still_finite() -> None:
    found = bradley_terry([cast("a", "b", weight=1e6)])
    assert 0.9 < found["a"] < 1


def test_votes_are_feedback_on_known_decisions() -> None:
    given = (
        Feedback(decision_id="1", over="b", weight=2.0, confidence=0.25),
        Feedback(decision_id="1", candidate="c", over="a", tie=True),
        Feedback(decision_id="1", quality=1.0),
        Feedback(decision_id="2", over="b"),
    )
    assert votes(log_of(*given)) == [cast("a", "b", weight=0.5), cast("c", "a", won=0.5)]


def test_without_outcomes_quality_is_strength_and_costs_are_list_prices() -> None:
    voted = Dataset([ASKED], experience=log_of(Feedback(decision_id="1", over="b")))
    pool = Pool([ModelSpec("b", prices=Prices(1, 2), latency=Latency(5, 10)), ModelSpec("new", prices=Prices(0, 0))])
    typical = typical_outcomes(voted, pool)
    np.testing.assert_allclose(typical.known_quality, [[bradley_terry([cast("a", "b")])["b"], np.nan]])
    np.testing.assert_allclose(typical.cost_usd, [[(1000 * 1 + 2000 * 2) / 1e6, 0]])
    np.testing.assert_allclose(typical.latency_ms, [[15, np.nan]])


def test_outcomes_are_taken_where_there_are_some() -> None:
    outcomes = Outcomes(np.ones((1, 1)), np.ones((1, 1)), np.ones((1, 1)))
    measured = Dataset([ASKED], Pool([Candidate("a")]), outcomes, experience=log_of())
    assert typical_outcomes(measured, Pool([Candidate("a")])) is outcomes


def test_a_candidate_without_measured_costs_has_its_list_price() -> None:
    outcomes = Outcomes(np.ones((1, 2)), np.array([[0.5, np.nan]]), np.ones((1, 2)))
    pool = Pool([ModelSpec("a", prices=Prices(1, 1)), ModelSpec("b", prices=Prices(1, 2))])
    typical = typical_outcomes(Dataset([ASKED], pool, outcomes), pool)
    np.testing.assert_allclose(typical.cost_usd, [[0.5, (1000 * 1 + 2000 * 2) / 1e6]])


def test_a_candidate_without_prices_is_refused_by_name() -> None:
    voted = Dataset([ASKED], experience=log_of())
    with pytest.raises(DataError, match="no price for b; give candidates and their prices with --pool FILE"):
        typical_outcomes(voted, Pool([ModelSpec("a", prices=Prices(1, 1)), Candidate("b")]))
    with pytest.raises(DataError, match="no price for a, b, c, d, e and 2 more; give"):
        typical_outcomes(voted, Pool(Candidate(name) for name in "abcdefg"))
    with pytest.raises(DataError, match="neither outcomes nor comparisons"):
        typical_outcomes(Dataset([ASKED]), Pool([Candidate("b")]))
