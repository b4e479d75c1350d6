from __future__ import annotations

import numpy as np
import pytest
from aamc_experiments.evaluation import hull
from aamc_experiments.evaluation.formulas.frontier import aiq, cost_at_quality, quality_at_cost
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

POINTS = arrays(np.float64, st.tuples(st.integers(1, 8), st.just(2)), elements=st.integers(0, 20).map(float))


def area(points: list[tuple[float, float]], minimum: float, maximum: float) -> float:
    cost, quality = np.array(points, dtype=float).T
    return float(aiq(cost, quality, np.array(minimum), np.array(maximum)))


def test_the_hull_passes_over_points_below_it() -> None:
    cost, quality = hull(np.array([1.0, 2, 3, 4]), np.array([0.2, 0.3, 0.8, 0.7]))
    assert cost.tolist() == [1, 3, 3, 3]
    assert quality.tolist() == [0.2, 0.8, 0.8, 0.8]


def test_of_equally_cheap_points_the_hull_starts_at_the_better() -> None:
    cost, quality = hull(np.array([1.0, 1, 2]), np.array([0.2, 0.6, 0.7]))
    assert (cost[0], quality[0]) == (1, 0.6)


def test_sets_of_points_are_worked_on_together() -> None:
    cost, quality = np.random.default_rng(0).random((2, 5, 6))
    together = hull(cost, quality)
    for n in range(5):
        np.testing.assert_array_equal(together[0][n], hull(cost[n], quality[n])[0])
        np.testing.assert_array_equal(together[1][n], hull(cost[n], quality[n])[1])


@given(POINTS)
def test_the_hull_is_concave_rising_and_above_every_point(points: np.ndarray) -> None:
    cost, quality = points.T
    x, y = hull(cost, quality)
    run, rise = np.diff(x), np.diff(y)
    steps = run > 0
    slopes = rise[steps] / run[steps]
    assert (rise[~steps] == 0).all()
    assert (slopes > 0).all()
    assert (np.diff(slopes) < 1e-9).all()
    assert (np.interp(cost, x, y) >= quality - 1e-9).all()
    assert {(a, b) for a, b in zip(x, y, strict=True)} <= {(a, b) for a, b in points.tolist()}


def test_the_average_quality_of_a_straight_line_is_its_middle() -> None:
    assert area([(0, 0.2), (10, 0.8)], 0, 10) == pytest.approx(0.5)


def test_beyond_its_last_vertex_the_hull_is_level() -> None:
    assert area([(0, 0), (5, 1)], 0, 10) == pytest.approx(0.75)


def test_costs_outside_the_range_of_the_candidates_do_not_count() -> None:
    assert area([(0, 0), (4, 1)], 2, 4) == pytest.approx(0.75)
    assert area([(0, 0), (4, 1)], 0, 2) == pytest.approx(0.25)


def test_without_a_range_of_costs_there_is_no_average() -> None:
    assert np.isnan(area([(1, 0.5)], 1, 1))


def test_the_zero_router_of_two_candidates_scores_their_mean() -> None:
    assert area([(1, 0.4), (9, 0.9)], 1, 9) == pytest.approx((0.4 + 0.9) / 2)


@given(POINTS, st.integers(0, 20), st.integers(0, 20))
def test_one_more_point_never_lowers_the_average(points: np.ndarray, cost: int, quality: int) -> None:
    corner = [(0.0, 0.0)]
    fewer = area([*corner, *map(tuple, points.tolist())], 0, 20)
    more = area([*corner, *map(tuple, points.tolist()), (cost, quality)], 0, 20)
    assert more >= fewer - 1e-9


def test_cost_at_quality_is_read_between_vertices() -> None:
    cost, quality = np.array([0.0, 10, 30]), np.array([0.5, 0.9, 1.0])
    assert cost_at_quality(cost, quality, 0.7) == pytest.approx(5)
    assert cost_at_quality(cost, quality, 0.95) == pytest.approx(20)
    assert cost_at_quality(cost, quality, 0.9) == pytest.approx(10)


def test_a_quality_that_the_first_vertex_has_costs_no_more_than_it() -> None:
    assert cost_at_quality(np.array([2.0, 3]), np.array([0.5, 0.9]), 0.1) == 2


def test_a_quality_that_is_reached_but_for_rounding_is_reached() -> None:
    assert cost_at_quality(np.array([1.0, 2]), np.array([0.5, 0.9]), 0.9 * (1 + 1e-12)) == 2


def test_a_quality_out_of_reach_has_no_cost() -> None:
    assert cost_at_quality(np.array([1.0, 2]), np.array([0.5, 0.9]), 0.91) == np.inf


def test_quality_at_cost_is_read_between_vertices_and_level_beyond_them() -> None:
    cost, quality = np.array([2.0, 10, 30]), np.array([0.5, 0.9, 0.8])
    budgets = {1.0: 0.5, 2.0: 0.5, 6.0: 0.7, 10.0: 0.9, 30.0: 0.9}
    for budget, best in budgets.items():
        assert quality_at_cost(cost, quality, budget) == pytest.approx(best)


def test_many_sets_of_points_have_a_cost_and_a_quality_each() -> None:
    cost, quality = np.array([[0.0, 10], [0, 20]]), np.array([[0.5, 0.9], [0.5, 0.7]])
    np.testing.assert_allclose(cost_at_quality(cost, quality, np.array([0.7, 0.8])), [5, np.inf])
    np.testing.assert_allclose(quality_at_cost(cost, quality, np.array([5.0, 5.0])), [0.7, 0.55])


def test_a_single_point_is_a_level_hull() -> None:
    assert quality_at_cost(np.array([2.0]), np.array([0.5]), 3.0) == 0.5
    assert cost_at_quality(np.array([2.0]), np.array([0.5]), 0.4) == 2
