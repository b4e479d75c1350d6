from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest
from aamc_experiments.evaluation import Resampling, forecast_errors, forecasts, metrics

from aamc_sdk.types import Floats


def measured(table: Any, routers: Any, expected: Any) -> dict[str, Any]:
    comparison = table.compare({"small": routers.Always(routers.options, table.services)})
    forecasts = np.broadcast_to(np.asarray(expected, dtype=np.float32), comparison.expected_quality[0].shape)
    figures = metrics(attrs.evolve(comparison, expected_quality=forecasts[None]), table.reward)["routers"]["small"]
    return {name: figures[name] for name in ("brier", "ece")}


def test_every_cell_of_a_table_is_a_forecast(table: Any, routers: Any) -> None:
    squares = (0.8**2 + 0.2**2 + 0.2**2 + 0.2**2) + (0.1**2 + 0.1**2 + 0.3**2 + 0.9**2)
    gaps = abs(1.4 - 4 * 0.2) + abs(2.6 - 4 * 0.9)
    assert measured(table, routers, [0.2, 0.9]) == pytest.approx({"brier": squares / 8, "ece": gaps / 8})


def test_a_forecast_that_is_right_on_average_is_calibrated_but_has_errors(table: Any, routers: Any) -> None:
    assert measured(table, routers, 0.5) == pytest.approx({"brier": (6 * 0.25 + 2 * 0.01) / 8, "ece": 0}, abs=1e-12)


def test_what_is_known_beforehand_is_without_error(table: Any, routers: Any) -> None:
    assert measured(table, routers, table.outcomes.quality) == pytest.approx({"brier": 0, "ece": 0}, abs=1e-6)


def test_forecasts_outside_0_and_1_belong_to_the_outer_bins(make_table: Any, routers: Any) -> None:
    table = make_table([[1], [1], [0], [0]], [[1], [1], [1], [1]])
    gaps = abs(-0.2 + 0.05) + abs(0.3 - 0.05)
    assert measured(table, routers, [[1.2], [0.95], [-0.3], [0.05]])["ece"] == pytest.approx(gaps / 4)


def test_a_bin_has_its_upper_edge_and_not_its_lower_one(make_table: Any, routers: Any) -> None:
    table = make_table([[1], [1], [0]], [[1], [1], [1]])
    eighth, below, above = 8 / 15, 8 / 15 - 0.01, 8 / 15 + 0.01
    comparison = table.compare({"small": routers.Always(routers.options, table.services)})
    sharp = attrs.evolve(comparison, expected_quality=np.array([[[below], [above], [eighth]]]))
    together = abs((1 - below) - eighth) + (1 - above)
    assert forecast_errors(*forecasts(sharp, 0), Resampling.once(np.arange(3)))["ece"][0] == pytest.approx(together / 3)


def test_who_expects_nothing_has_no_calibration(table: Any, routers: Any) -> None:
    assert measured(table, routers, np.nan) == {"brier": None, "ece": None}


def test_cells_without_a_forecast_do_not_count(table: Any, routers: Any) -> None:
    assert measured(table, routers, [np.nan, 0.65]) == pytest.approx({"brier": (2 * 0.35**2 + 0.05**2 + 0.65**2) / 4, "ece": 0}, abs=1e-6)


def test_resampled_figures_are_those_of_the_repeated_rows(large_table: Any, routers: Any) -> None:
    comparison = large_table.compare({"small": routers.Always(routers.options, large_table.services)})
    noisy: Floats = np.random.default_rng(0).random(comparison.expected_quality.shape)
    comparison = attrs.evolve(comparison, expected_quality=noisy)
    weights = np.random.default_rng(1).integers(0, 3, size=(1, 60)).astype(float)
    rows = np.repeat(np.arange(60), weights[0].astype(int))
    repeated = attrs.evolve(comparison, quality=comparison.quality[rows], expected_quality=noisy[:, rows])
    expected = forecast_errors(*forecasts(repeated, 0), Resampling.once(np.arange(len(rows))))
    found = forecast_errors(*forecasts(comparison, 0), Resampling(weights, np.arange(60)))
    assert {name: values[0] for name, values in found.items()} == pytest.approx({name: values[0] for name, values in expected.items()})
