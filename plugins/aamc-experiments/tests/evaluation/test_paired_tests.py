from __future__ import annotations

import numpy as np
import pytest
from aamc_experiments.evaluation import Resampling
from aamc_experiments.evaluation.paired_tests import PERMUTATIONS, holm, paired_comparisons, randomisation_test


def p_of(differences: list[float], unit: list[int] | None = None) -> float:
    rows = np.array(differences)[:, None]
    return float(randomisation_test(rows, np.arange(len(rows)) if unit is None else np.array(unit), seed=0)[0])


def test_of_eight_ways_to_toss_three_coins_two_are_as_extreme() -> None:
    assert p_of([1, 2, 3]) == pytest.approx(2 / 8, abs=0.02)


def test_equal_sizes_give_the_sign_test() -> None:
    assert p_of([0.1] * 9 + [-0.1]) == pytest.approx(2 * (1 + 10) / 2**10, abs=0.006)


def test_no_difference_is_no_evidence_and_a_plain_one_is_as_much_as_the_tosses_can_show() -> None:
    assert p_of([0.0] * 20) == 1
    assert p_of([0.1] * 60) == 1 / (PERMUTATIONS + 1)


def test_the_rows_of_a_unit_change_sign_together() -> None:
    assert p_of([1, 1, 1, 1, 1, 1], unit=[0, 0, 1, 1, 2, 2]) == pytest.approx(2 / 8, abs=0.02)


def test_where_nothing_differs_one_in_twenty_is_found_at_five_percent() -> None:
    noise = np.random.default_rng(1).normal(size=(40, 1000))
    rejected = randomisation_test(noise, np.arange(40), seed=2) <= 0.05
    assert rejected.mean() == pytest.approx(0.05, abs=0.02)


def test_holms_correction_by_hand() -> None:
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.9, 0.6])), [1, 1])


def test_one_unit_alone_is_no_evidence_and_has_no_interval() -> None:
    (test,) = paired_comparisons({"ours": np.ones(5), "theirs": np.zeros(5)}, [Resampling.bootstrap(np.zeros(5, dtype=int), 20, 0)], seed=0)
    assert test == {"a": "ours", "b": "theirs", "difference": 1, "ci95": None, "p": 1, "p_holm": 1}


def test_the_first_router_is_compared_with_each_other_one() -> None:
    rng = np.random.default_rng(4)
    ours = rng.random(200)
    rewards = {"ours": ours, "same": ours, "worse": ours - rng.normal(0.5, 0.1, 200)}
    resampling = Resampling.bootstrap(np.arange(200), 500, 0)
    same, worse = paired_comparisons(rewards, [resampling], seed=0)
    assert same == {"a": "ours", "b": "same", "difference": 0, "ci95": [0, 0], "p": 1, "p_holm": 1}
    assert worse["difference"] == pytest.approx((ours - rewards["worse"]).mean())
    assert worse["ci95"][0] > 0.45
    assert worse["p_holm"] == pytest.approx(2 * worse["p"]) == pytest.approx(2 / (PERMUTATIONS + 1))
    assert paired_comparisons({"alone": ours}, [resampling], seed=0) == []
