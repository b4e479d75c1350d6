from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from aamc_experiments.evaluation import hypervolume
from aamc_experiments.evaluation.formulas.multi_objective import non_dominated, sparsity


def test_the_hypervolume_of_a_staircase() -> None:
    assert hypervolume(np.array([[3.0, 1], [1, 3], [2, 2]])) == 6


def test_the_hypervolume_of_deep_sea_treasure_is_the_published_one() -> None:
    # Vamplew et al. 2011, "Empirical evaluation methods for multiobjective reinforcement learning algorithms":
    # 1155 from the reference point of no treasure after 25 steps
    treasure = [1, 2, 3, 5, 8, 16, 24, 50, 74, 124]
    steps = [1, 3, 5, 7, 8, 9, 13, 14, 17, 19]
    assert hypervolume(np.column_stack((treasure, 25 - np.array(steps))).astype(float)) == 1155


def test_in_three_dimensions_overlaps_count_once() -> None:
    assert hypervolume(np.array([[1.0, 2, 3]])) == 6
    assert hypervolume(np.array([[2.0, 1, 1], [1, 2, 1]])) == 3
    assert hypervolume(np.array([[2.0, 1, 1], [1, 2, 1], [1, 1, 2]])) == 4


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_sets_of_whole_numbers_cover_as_many_cells_as_one_can_count(objectives: int) -> None:
    sets = np.random.default_rng(objectives).integers(0, 6, size=(20, 7, objectives)).astype(float)
    counted = [sum((np.array(cell) < points).all(axis=1).any() for cell in product(range(6), repeat=objectives)) for points in sets]
    np.testing.assert_array_equal(hypervolume(sets), counted)


def test_a_point_below_the_reference_covers_nothing() -> None:
    assert hypervolume(np.array([[-1.0, 5], [1, 1]])) == 1


def test_of_equal_points_one_is_kept_and_dominated_ones_are_not() -> None:
    points = np.array([[0.0, 4], [1, 3], [1, 3 + 1e-12], [0, 0], [3, 0], [1, 2]])
    assert non_dominated(points).tolist() == [True, True, False, False, True, False]


def test_sparsity_by_hand() -> None:
    front = np.array([[1.0, 3], [0, 4], [3, 0]])
    by_hand = ((1 - 0) ** 2 + (3 - 1) ** 2 + (3 - 0) ** 2 + (4 - 3) ** 2) / 2
    assert sparsity(front) == pytest.approx(by_hand)
    more = np.vstack((front, front, [[0.5, 0.5]]))
    assert sparsity(more) == pytest.approx(by_hand)


def test_many_sets_at_once_are_each_as_alone() -> None:
    sets = np.random.default_rng(0).random((30, 6, 3))
    np.testing.assert_allclose(sparsity(sets), [sparsity(points) for points in sets])


def test_a_single_point_has_no_neighbours() -> None:
    assert np.isnan(sparsity(np.array([[1.0, 1], [1, 1], [0, 0.5]])))


def test_points_that_are_not_known_have_no_sparsity() -> None:
    assert np.isnan(sparsity(np.full((3, 2), np.nan)))
    assert sparsity(np.array([[0.0, 1.0], [np.nan, np.nan], [1.0, 0.0]])) == 2
