"""LLMRouterBench's measures, by hand."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from aamc_bench.samples import MEASURES, accuracy_gains, category_average
from aamc_experiments.evaluation import Resampling

from aamc_sdk.types import Outcomes

CATEGORY = np.array(["math", "math", "math", "code"])
QUALITY = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
"""The strong candidate, then the weak one: 2/3 and 0 by category, 1/3 and 1."""
COST = np.array([[4.0, 1.0]] * 4)
ONCE = Resampling.once(np.arange(4))


def measured(choices: Any, category: Any = CATEGORY, cost: Any = COST, is_table: bool = True) -> dict[str, float]:
    """Return the measures of a router that makes these choices ``[Q]`` at (1, 0, 0), and the weak candidate's at all other points."""
    comparison: Any = SimpleNamespace(is_table=is_table, category=category, constant_outcomes=Outcomes(QUALITY, cost, cost))
    chosen = np.ones((43, 4), dtype=int)
    chosen[1] = choices
    outcomes = SimpleNamespace(known_quality=QUALITY[np.arange(4), chosen], cost_usd=cost[np.arange(4), chosen])
    router: Any = SimpleNamespace(outcomes=outcomes)
    return {name: values.item() for name, values in accuracy_gains(comparison, router, ONCE).items()}


def test_categories_weigh_alike() -> None:
    np.testing.assert_allclose(category_average(QUALITY, CATEGORY, ONCE), [[1 / 3, 2 / 3]])


def test_a_category_without_a_query_in_a_resample_does_not_count() -> None:
    only_math = Resampling(np.array([[2, 1, 1, 0]], dtype=np.uint8), np.arange(4))
    np.testing.assert_allclose(category_average(QUALITY, CATEGORY, only_math), [[3 / 4, 1 / 4]])


def test_rows_without_a_category_do_not_count() -> None:
    np.testing.assert_allclose(category_average(QUALITY, np.array(["math", "math", "", "code"]), ONCE), [[1 / 2, 1 / 2]])


def test_gains_are_relative_to_uniform_choices_the_best_single_candidate_and_the_oracle() -> None:
    found = measured([0, 0, 0, 1])  # 2/3 of math, all of code
    assert found["average_accuracy"] == pytest.approx(5 / 6)
    assert found["gain_at_random"] == pytest.approx((5 / 6) / (1 / 2) - 1)
    assert found["gain_at_best"] == pytest.approx((5 / 6) / (2 / 3) - 1)
    assert found["gap_at_oracle"] == pytest.approx(1 - 5 / 6)
    assert found["performance_gain"] == pytest.approx((5 / 6) / (2 / 3) - 1)


def test_the_saving_is_that_of_the_cheapest_point_with_the_best_single_candidates_accuracy() -> None:
    assert measured([0, 0, 0, 1])["cost_saving"] == pytest.approx(0.0)  # the weak candidate is the best single one
    expensive_weak = measured([0, 0, 0, 1], cost=COST[:, ::-1])
    assert expensive_weak["cost_saving"] == pytest.approx(1 - (1 + 1 + 1 + 4) / 16)


def test_a_router_that_never_has_that_accuracy_saves_nothing_known() -> None:
    comparison: Any = SimpleNamespace(is_table=True, category=CATEGORY, constant_outcomes=Outcomes(QUALITY, COST, COST))
    strong: Any = SimpleNamespace(outcomes=SimpleNamespace(known_quality=np.tile(QUALITY[:, 0], (43, 1)), cost_usd=np.tile(COST[:, 0], (43, 1))))
    found = accuracy_gains(comparison, strong, ONCE)
    assert found["gain_at_best"].item() == pytest.approx((1 / 3) / (2 / 3) - 1)
    assert np.isnan(found["cost_saving"])


def test_without_costs_nothing_is_saved() -> None:
    assert np.isnan(measured([0, 0, 0, 1], cost=np.zeros((4, 2)))["cost_saving"])


@pytest.mark.parametrize("given", [{"category": np.array([""] * 4)}, {"is_table": False}])
def test_without_categories_or_in_a_simulation_they_do_not_apply(given: Any) -> None:
    found = measured([0, 0, 0, 1], **given)
    assert set(found) == set(MEASURES)
    assert all(np.isnan(value) for value in found.values())
