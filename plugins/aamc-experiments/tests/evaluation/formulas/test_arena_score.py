from __future__ import annotations

import numpy as np
import pytest
from aamc_experiments.evaluation.formulas.arena_score import arena_score


@pytest.mark.parametrize(
    ("accuracy", "usd_per_1k", "published"),
    [(66.88, 0.15, 66.89), (68.09, 0.54, 66.66), (66.34, 0.21, 66.12), (73.96, 10.02, 64.32), (67.21, 2.06, 63.87), (47.04, 0.27, 48.07)],
    ids=["MIRT-BERT", "Azure", "NIRT-BERT", "GPT-5", "CARROT", "RouteLLM"],
)
def test_routerarenas_leaderboard_comes_out(accuracy: float, usd_per_1k: float, published: float) -> None:
    score = 100 * arena_score(np.array(accuracy / 100), np.array(usd_per_1k / 1000))
    assert score == pytest.approx(published, abs=0.03)  # costs are published to a cent


def test_half_way_between_the_costs_in_logarithm_is_half_cheap() -> None:
    middle = np.sqrt(200 * 0.0044) / 1000
    assert arena_score(np.array(0.5), np.array(middle)) == pytest.approx(1.1 * 0.25 / 0.55)


def test_cheapness_is_held_within_0_and_1() -> None:
    scores = arena_score(np.full(4, 0.8), np.array([0.0, 0.0044, 200.0, 1e6]) / 1000)
    np.testing.assert_allclose(scores, [0.88 / 1.08, 0.88 / 1.08, 0, 0])


def test_neither_accurate_nor_cheap_scores_nothing() -> None:
    assert arena_score(np.array(0.0), np.array(1.0)) == 0
