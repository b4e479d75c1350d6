"""Learning from pairwise comparisons."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest
from aamc_baselines.quality.examples import examples_of

from aamc_sdk.errors import DataError
from aamc_sdk.interfaces import Training
from aamc_sdk.routing import build_request
from aamc_sdk.types import Dataset, Decision, Estimates, Experience, Feedback, Outcomes, Pool, Preference, Query

ROWS, VOTES = 400, 3
STRENGTH = np.array([[-1.0, 0.0, 1.0], [1.5, 0.0, -1.5]])
"""The Bradley-Terry strength of the three candidates on two kinds of question; each row sums to zero."""


def make_world(pool: Pool, seed: int = 0) -> Training:
    """Votes on questions of two kinds, drawn by their Bradley-Terry probabilities; there are no outcomes."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 2, ROWS)
    queries = [Query(f"question {n}") for n in range(ROWS)]
    unknown = np.full(ROWS, np.nan)
    estimates = Estimates(unknown, np.empty((ROWS, 0)), (), unknown, np.column_stack((kind, rng.normal(size=(ROWS, 2)))) * 2.0)
    decisions, asked, votes = [], [], []
    for vote in range(ROWS * VOTES):
        row = vote % ROWS
        i, j = rng.permutation(3)[:2]
        lead = STRENGTH[kind[row], i] - STRENGTH[kind[row], j]
        winner, loser = (i, j) if rng.random() < 1 / (1 + np.exp(-lead)) else (j, i)
        decisions.append(Decision(str(vote), pool.names[winner], np.nan, Preference()))
        asked.append(queries[row])
        votes.append(Feedback(decision_id=str(vote), over=pool.names[loser]))
    experience = Experience(2 * len(votes), asked, Estimates.unknown(len(asked)), decisions, votes)
    request = build_request(queries, pool, np.array([1.0, 0.0, 0.0]), estimates=estimates)
    return Training(dataset=Dataset(queries, pool, experience=experience), request=request)


@pytest.mark.parametrize("name", ["mf", "logistic", "irt", "mlp"])
def test_the_order_and_the_strengths_of_a_bradley_terry_world_are_found(name: str, make_router: Any, training: Training, pool: Pool) -> None:
    world = make_world(pool)
    assert world.request is not None
    assert world.request.estimates.embedding is not None
    router = make_router(name, on=training, alpha=3.0)  # the reward's scales need outcomes
    assert router.train(world) == {}
    expected = router.score(world.request).expected_quality
    truth = STRENGTH[(world.request.estimates.embedding[:, 0] > 0).astype(int)]
    assert (expected.argsort(axis=1) == truth.argsort(axis=1)).mean() > 0.97
    np.testing.assert_allclose(np.log(expected / (1 - expected)), truth, atol=0.8)


@pytest.mark.parametrize("name", ["knn", "ridge", "svm", "gbdt"])
def test_others_say_that_they_need_outcomes(name: str, make_router: Any, training: Training, pool: Pool) -> None:
    with pytest.raises(DataError, match=f"{name} learns from outcomes"):
        make_router(name, on=training).train(make_world(pool))


def test_outcomes_and_comparisons_add_up(make_router: Any, pool: Pool) -> None:
    world = make_world(pool)
    even = Outcomes(np.full((ROWS, 3), 0.5), np.tile([1.0, 2.0, 10.0], (ROWS, 1)), np.tile([100.0, 200.0, 500.0], (ROWS, 1)))
    both = attrs.evolve(world, dataset=attrs.evolve(world.dataset, outcomes=even))
    alone = attrs.evolve(both, dataset=attrs.evolve(both.dataset, experience=None))
    spread = [make_router("mf", train=True, on=on, alpha=3.0).score(world.request).expected_quality.std(axis=1).mean() for on in (alone, both)]
    assert spread[0] < 0.01
    assert spread[1] > 0.05


def test_only_votes_on_training_questions_between_known_candidates_count(pool: Pool) -> None:
    queries = [Query("a"), Query("b"), Query("A ")]
    asked = [Query("b"), Query("held out"), Query("A"), Query("a"), Query("a")]
    decisions = [Decision(str(n), "small", np.nan, Preference()) for n in range(5)]
    feedback = [
        Feedback(decision_id="0", over="large", weight=2.0, confidence=0.5),
        Feedback(decision_id="1", over="large"),
        Feedback(decision_id="2", candidate="middle", over="small", tie=True),
        Feedback(decision_id="3", over="stranger"),
        Feedback(decision_id="4", quality=1.0),
        Feedback(decision_id="nobody's", over="large"),
    ]
    experience = Experience(11, asked, Estimates.unknown(5), decisions, feedback)
    found = examples_of(Dataset(queries, pool, experience=experience), pool, np.zeros((3, 1))).comparisons
    np.testing.assert_array_equal(found.row, [1, 0])
    np.testing.assert_array_equal(found.winner, [0, 1])
    np.testing.assert_array_equal(found.loser, [2, 0])
    np.testing.assert_array_equal(found.won, [1.0, 0.5])
    np.testing.assert_array_equal(found.weight, [1.0, 1.0])
    kept = found.take(np.array([2, 0]), of=3)
    np.testing.assert_array_equal(kept.row, [1])
    np.testing.assert_array_equal(kept.winner, [1])
