"""Figures of predicted choices."""

from __future__ import annotations

import numpy as np
import pytest
from aamc_experiments.evaluation.formulas.roc import choice_accuracy, choice_auc, choice_figures


def test_the_area_counts_each_pair_in_both_orders() -> None:
    margin = np.array([2.0, 1.0, -0.5, 0.0])
    both = [(one > other) + 0.5 * (one == other) for one in margin for other in -margin]
    assert choice_auc(margin) == pytest.approx(np.mean(both))
    assert choice_accuracy(margin) == pytest.approx(2.5 / 4)


def test_certain_and_ignorant_scores() -> None:
    assert choice_auc(np.ones(5)) == 1.0
    assert choice_auc(-np.ones(5)) == 0.0
    assert choice_auc(np.zeros(5)) == 0.5


def test_intervals_cover_the_truth_of_dependent_pairs() -> None:
    draw, covered = np.random.default_rng(0), 0
    for _ in range(100):
        margin = 0.5 + draw.normal(size=(40, 1)) + draw.normal(size=(40, 10))
        low, high = choice_figures(margin.ravel(), np.repeat(np.arange(40), 10))["ci95"]["preference_accuracy"]
        covered += low <= 0.638 <= high  # Phi(0.5 / sqrt(2))
    assert covered >= 88


def test_intervals_of_few_users_cover_the_truth() -> None:
    draw, covered = np.random.default_rng(0), 0
    for _ in range(400):
        right = draw.random((5, 20)) < draw.beta(6, 3, size=(5, 1))
        low, high = choice_figures(np.where(right, 1.0, -1.0).ravel(), np.repeat(np.arange(5), 20))["ci95"]["preference_accuracy"]
        covered += low <= 6 / 9 <= high
    assert covered >= 0.92 * 400


@pytest.mark.parametrize(
    ("right", "interval"),
    [([2, 2, 3], [0.224779, 0.941887]), ([4, 2], [0.0, 1.0])],  # 7 / 12 and its standard error 1 / 12 times 4.302653, Student's t; beyond [0, 1]
)
def test_the_interval_has_the_standard_error_of_the_users_shares_and_stays_a_share(right: list[int], interval: list[float]) -> None:
    margin = np.concatenate([np.where(np.arange(4) < each, 1.0, -1.0) for each in right])
    found = choice_figures(margin, np.repeat(np.arange(len(right)), 4))["ci95"]["preference_accuracy"]
    assert found == pytest.approx(interval, abs=1e-6)


def test_two_perfect_users_are_no_certainty() -> None:
    low, high = choice_figures(np.ones(6), np.repeat([0, 1], 3))["ci95"]["preference_auc"]
    assert (low, high) == (pytest.approx(1 - 0.841886, abs=1e-6), 1.0)  # the exact interval of 2 of 2


def test_no_pair_has_no_figure() -> None:
    assert choice_figures(np.empty(0), np.empty(0, dtype=np.intp))["preference_auc"] is None
