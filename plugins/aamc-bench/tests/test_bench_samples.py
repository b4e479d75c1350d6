from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aamc_bench.compare import pairwise_tests, win_counts
from aamc_bench.samples import Sample, clear_best, figure, over_seeds, question_names, questions


def sample(figures: Any, rewards: Any = ((0.0, 1.0),), unit: Any = "ab", routers: Any = None) -> Sample:
    values = np.array(figures, dtype=np.float64)
    names = routers or [f"r{n}" for n in range(len(values))]
    return Sample(np.array(names), {"aiq": values}, np.array(rewards, dtype=np.float64), np.array(list(unit)))


def test_one_seed_is_its_own_mean_with_its_own_resamples() -> None:
    one = sample([[0.5, 0.4, 0.6, 0.7]])
    (found,) = over_seeds([one], "aiq")
    assert found[0] == 0.5
    assert sorted(found[1:]) == [0.4, 0.6, 0.7]


def test_the_mean_over_seeds_is_that_of_the_data_and_spreads_over_seeds() -> None:
    still = [sample([[value, *[value] * 400]]) for value in (0.0, 1.0)]  # rows do not vary, seeds do
    found = over_seeds(still, "aiq")[0]
    assert found[0] == 0.5
    assert set(found[1:]) == {0.0, 0.5, 1.0}
    assert np.mean(found[1:] == 0.5) == pytest.approx(0.5, abs=0.1)  # the binomial of two draws


def test_a_seed_that_is_drawn_twice_gives_two_resamples() -> None:
    one, other = (sample([[0.0, *np.arange(100)]], unit=unit) for unit in ("ab", "cd"))
    other_rows = over_seeds([one, other], "aiq")[0, 1:]
    assert other_rows.std() == pytest.approx(np.arange(100).std() / np.sqrt(2), rel=0.25)


def test_seeds_with_the_same_test_rows_tell_no_more_about_other_rows_than_one() -> None:
    one = sample([[0.0, *np.arange(100)]])
    assert sorted(over_seeds([one, one, one], "aiq")[0, 1:]) == pytest.approx(np.arange(100))


def test_routers_stay_paired() -> None:
    rng = np.random.default_rng(0)
    seeds = []
    for _ in range(3):
        first = rng.random(201)
        seeds.append(sample([first, first + 0.01]))
    found = over_seeds(seeds, "aiq")
    np.testing.assert_allclose(found[1] - found[0], 0.01)


def test_a_figure_has_the_bounds_between_which_the_resamples_lie() -> None:
    found = figure(np.array([0.5, *np.linspace(0, 1, 1001)]))
    assert found["value"] == 0.5
    assert found["ci95"] == pytest.approx([0.025, 0.975])


def test_a_figure_that_seldom_applies_has_no_interval() -> None:
    assert figure(np.array([0.5, np.nan, np.nan, 0.4])) == {"value": 0.5, "ci95": None}
    assert figure(np.array([np.nan, np.nan])) == {"value": None, "ci95": None}


def test_a_cost_that_some_resamples_never_reach_has_an_open_interval() -> None:
    assert figure(np.array([0.2, 0.1, 0.2, 0.3, np.inf])) == {"value": 0.2, "ci95": [0.1, None]}
    assert figure(np.array([np.inf, np.inf])) == {"value": None, "ci95": None}


def test_the_best_is_clear_only_beyond_its_paired_interval() -> None:
    noise = np.random.default_rng(0).normal(size=400)
    values = np.vstack((np.r_[0.50, 0.50 + noise], np.r_[0.52, 0.52 + noise], np.r_[0.51, 0.51 + noise]))
    assert clear_best(values) == 1  # apart by 0.01 on every resample, though the intervals overlap
    assert clear_best(values, lower_is_better=True) == 0
    assert clear_best(values[:, ::1] + np.r_[0, noise[::-1]][None] * np.array([[0.0], [1.0], [0.0]])) is None


def test_rows_of_one_unit_have_no_interval_and_no_clear_best() -> None:
    values = np.array([[0.5, np.nan, np.nan], [0.9, np.nan, np.nan]])  # what resamples of one stream say
    assert clear_best(values) is None
    assert figure(values[1]) == {"value": 0.9, "ci95": None}
    (duel,) = pairwise_tests([sample([[0.9], [0.5]], [[1.0, 1.0], [0.0, 0.0]], "aa")], resamples=20)
    assert (duel["ci95"], duel["p"]) == (None, 1)


def test_a_share_of_none_or_all_has_the_exact_interval() -> None:
    all_of_them, some = np.ones(21), np.r_[0.5, np.linspace(0.4, 0.6, 20)]
    twice = [sample([all_of_them]), sample([all_of_them], unit="bc")]
    assert questions(twice) == 3
    assert figure(all_of_them, units=3) == {"value": 1.0, "ci95": pytest.approx([0.025 ** (1 / 3), 1.0])}
    assert figure(all_of_them) == {"value": 1.0, "ci95": [1.0, 1.0]}  # no share, such as a relative quality
    assert figure(some, units=3) == figure(some)


def test_equals_unknowns_and_loners_are_not_the_best() -> None:
    assert clear_best(np.ones((2, 10))) is None
    assert clear_best(np.array([[1.0, 1, 1], [np.nan] * 3])) is None
    assert clear_best(np.array([[1.0, 1, 1], [0.5, 0.5, 0.5], [np.nan] * 3])) == 0


def test_a_cost_that_one_never_reaches_is_no_rival() -> None:
    values = np.array([[0.2, 0.2, 0.3, np.inf], [0.4, 0.4, 0.5, np.inf], [np.inf] * 4])
    assert clear_best(values[:, :3], lower_is_better=True) == 0
    assert clear_best(values, lower_is_better=True) is None  # in a third of the resamples neither is reached


def test_a_sample_reads_what_it_wrote(tmp_path: Path) -> None:
    kept = sample([[0.5, 0.4], [0.6, np.nan]], [[0.0, 1.0], [1.0, 1.0]])
    kept.save(tmp_path / "sample.npz")
    read = Sample.load(tmp_path / "sample.npz")
    assert read.routers.tolist() == ["r0", "r1"]
    assert list(read.figures) == ["aiq"]
    np.testing.assert_array_equal(read.figures["aiq"], kept.figures["aiq"])
    np.testing.assert_array_equal(read.rewards, kept.rewards)
    assert read.unit.tolist() == ["a", "b"]


def test_a_question_has_the_same_name_whatever_the_order_of_its_rows() -> None:
    assert question_names(np.array(["b", "a", "c"]), np.array([0, 0, 1]), 3).tolist() == ["a", "a", "c"]
    assert question_names(np.array(["c", "a", "b"]), np.array([0, 1, 1]), 3).tolist() == ["c", "a", "a"]


def test_rows_without_text_are_a_question_each() -> None:
    assert question_names(np.array(["", "a", "", ""]), np.array([0, 1, 2, 2]), 3).tolist() == ["3/0", "a", "3/2", "3/2"]


def test_a_duel_is_paired_and_tests_each_pair() -> None:
    rng = np.random.default_rng(0)
    luck = rng.random(60)
    rewards = np.vstack((luck + 0.1, luck, luck + rng.normal(0, 0.01, 60)))
    found = pairwise_tests([sample(np.zeros((3, 2)), rewards, [f"q{n}" for n in range(60)], ["a", "b", "c"])], 200)
    assert [(test["a"], test["b"]) for test in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    first = found[0]
    assert first["difference"] == pytest.approx(0.1)
    assert first["ci95"] == pytest.approx([0.1, 0.1])
    assert (first["p"], first["p_holm"]) == pytest.approx((1e-4, 3e-4))
    assert win_counts(found, ["a", "b", "c"]) == {
        "a": {"wins": 2, "ties": 0, "losses": 0},
        "b": {"wins": 0, "ties": 1, "losses": 1},
        "c": {"wins": 0, "ties": 1, "losses": 1},
    }


def test_rows_of_one_question_are_one_unit_under_several_seeds() -> None:
    rewards = [[1.0] * 5, [0.0] * 5]
    samples = [sample(np.zeros((2, 2)), rewards, [f"q{n}" for n in range(5)]) for _ in range(4)]
    (test,) = pairwise_tests(samples, 100)
    assert test["p"] == pytest.approx(2 / 2**5, abs=0.01)  # five coins, however often each question was asked


def test_a_duel_tells_how_far_its_difference_carries_over_seeds() -> None:
    gains = [0.1, 0.2, 0.6]
    samples = [sample(np.zeros((2, 2)), [[gain] * 4, [0.0] * 4], [f"{gain}/{n}" for n in range(4)]) for gain in gains]
    (test,) = pairwise_tests(samples, 100)
    assert test["p"] < 0.01  # as if the trainings were exact
    half = 4.3027 * np.std(gains, ddof=1) / 3**0.5  # Student's quantile for three
    assert test["over_seeds"] == {"value": pytest.approx(0.3), "ci95": pytest.approx([0.3 - half, 0.3 + half], abs=1e-4)}
    assert pairwise_tests(samples[:1], 100)[0]["over_seeds"]["ci95"] is None


def test_a_router_alone_has_no_duel() -> None:
    assert pairwise_tests([sample(np.zeros((1, 2)))], 100) == []
