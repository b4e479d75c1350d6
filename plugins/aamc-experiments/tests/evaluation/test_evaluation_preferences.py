from __future__ import annotations

import numpy as np
import pytest
from aamc_experiments.evaluation import HEADLINE, SWEEP, evaluation_points
from aamc_experiments.evaluation.comparison import LATTICE, QUALITY_ALONE, latency_counts

from aamc_sdk.errors import PreferenceError
from aamc_sdk.routing import LinearReward
from aamc_sdk.types import Outcomes, Preference


def test_there_are_43_points_and_each_is_a_preference() -> None:
    points = evaluation_points(Preference())
    assert points.shape == (43, 3)
    assert (points >= 0).all()
    np.testing.assert_allclose(points.sum(axis=1), 1)
    np.testing.assert_allclose(points[HEADLINE], (0.9, 0.08, 0.02))


def test_the_sweep_goes_from_quality_alone_to_cost_alone_in_even_ratios() -> None:
    sweep = evaluation_points(Preference())[SWEEP]
    assert sweep[0].tolist() == [1, 0, 0]
    assert sweep[-1].tolist() == [0, 1, 0]
    ratios = sweep[1:-1, 1] / sweep[1:-1, 0]
    assert len(ratios) == 19
    np.testing.assert_allclose((ratios[0], ratios[-1]), (0.003, 10))
    np.testing.assert_allclose(np.diff(np.log(ratios)), np.log(10 / 0.003) / 18)


def test_the_lattice_has_each_multiple_of_a_fifth_once() -> None:
    lattice = evaluation_points(Preference())[LATTICE]
    fifths = {tuple(point) for point in np.rint(lattice * 5).astype(int).tolist()}
    assert fifths == {(q, c, 5 - q - c) for q in range(6) for c in range(6 - q)}
    assert len(lattice) == 21


def test_the_row_of_recorded_utilities_is_quality_alone() -> None:
    assert evaluation_points(Preference(0, 1, 0))[QUALITY_ALONE].tolist() == [1, 0, 0]


def test_without_latency_its_weight_is_dropped_and_the_sweep_stands_for_the_lattice() -> None:
    points = evaluation_points(Preference(0.6, 0.2, 0.2), latency_counts=False)
    np.testing.assert_allclose(points[HEADLINE], (0.75, 0.25, 0))
    np.testing.assert_array_equal(points[LATTICE], points[SWEEP])


def test_a_preference_wholly_on_an_unknown_latency_is_an_error() -> None:
    with pytest.raises(PreferenceError, match="only latency"):
        evaluation_points(Preference(0, 0, 1), latency_counts=False)


def test_latency_counts_only_where_reward_and_outcomes_know_it() -> None:
    known = Outcomes(np.ones((1, 2)), np.ones((1, 2)), np.array([[1.0, 2.0]]))
    unknown = Outcomes(np.ones((1, 2)), np.ones((1, 2)), np.full((1, 2), np.nan))
    trained, untimed = LinearReward(), LinearReward()
    trained.fit(known)
    untimed.fit(unknown)
    assert latency_counts(trained)
    assert latency_counts(trained, known)
    assert not latency_counts(trained, unknown)
    assert not latency_counts(untimed, known)
