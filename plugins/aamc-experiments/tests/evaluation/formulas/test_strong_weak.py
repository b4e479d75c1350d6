from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest
from aamc_experiments.evaluation import Resampling, metrics
from aamc_experiments.evaluation.formulas.strong_weak import ranked, strong_weak

from aamc_sdk.types import Preference

NAMES = ("pgr", "apgr", "cpt50", "cpt80")


def measured(table: Any, router: Any, **changes: Any) -> dict[str, Any]:
    figures = metrics(table.compare({"it": router}, **changes), table.reward)["routers"]["it"]
    return {name: figures[name] for name in NAMES}


def plain(figures: dict[str, Any]) -> dict[str, float]:
    return {name: float(values[0]) for name, values in figures.items()}


def test_a_router_that_knows_by_hand(table: Any, routers: Any) -> None:
    # gains 1 and 0.2 come first, of 1.2 in all; the other two calls gain nothing
    area = 0.25 * (0 + 1 / 1.2) / 2 + 0.25 * (1 / 1.2 + 1) / 2 + 0.5
    expected = {"pgr": 1, "apgr": area, "cpt50": 0.25 * 0.5 * 1.2, "cpt80": 0.25 * 0.8 * 1.2}
    assert measured(table, routers.Greedy(routers.options, table.services)) == pytest.approx(expected)


def test_pgr_is_that_of_the_headline(table: Any, routers: Any) -> None:
    prophet = routers.Prophet(routers.options, table.services)
    shares = [measured(table, prophet, headline=Preference(*weights))["pgr"] for weights in ((1, 0, 0), (0.8, 0.2, 0), (0, 1, 0))]
    assert shares == pytest.approx([1, 1 / 1.2, 0])


def test_who_cannot_tell_queries_apart_is_random_as_published(table: Any, routers: Any) -> None:
    # RouteLLM's random router: APGR 0.5, CPT(50%) 50%, CPT(80%) 80%
    dice = measured(table, routers.Dice(routers.options, table.services))
    assert {name: dice[name] for name in NAMES[1:]} == pytest.approx({"apgr": 0.5, "cpt50": 0.5, "cpt80": 0.8})


@pytest.mark.parametrize(
    ("means", "pgr"),
    [
        ([[0.2, 9.0, 9.0], [0.8, 1.0, 1.0]], 1.0),
        ([[0.5, 1.0, 9.0], [0.5, 9.0, 1.0]], 1.0),
        ([[0.5, 9.0, 1.0], [0.5, 1.0, 9.0]], np.nan),  # the first one is strong, and not better
    ],
)
def test_the_strong_candidate_is_the_better_one_in_training_and_of_equals_the_more_expensive(
    table: Any, routers: Any, means: list[list[float]], pgr: float
) -> None:
    comparison = table.compare({"it": routers.Greedy(routers.options, table.services)})
    found = strong_weak(attrs.evolve(comparison, candidate_means=np.array(means)), 0, Resampling.once(np.arange(4)))
    assert plain(found)["pgr"] == pytest.approx(pgr, nan_ok=True)


def test_a_ranking_by_chance_comes_near() -> None:
    rng = np.random.default_rng(0)
    gain = rng.choice([-1.0, 0, 1], p=[0.05, 0.65, 0.3], size=20_000)
    figures = plain(ranked(rng.random(20_000), gain, Resampling.once(np.arange(20_000))))
    assert figures == pytest.approx({"apgr": 0.5, "cpt50": 0.5, "cpt80": 0.8}, abs=0.02)


def test_the_first_crossing_counts_and_lies_between_two_queries() -> None:
    gain = np.array([1.0, -1, 1, 1])
    figures = plain(ranked(np.arange(4, 0, -1.0), gain, Resampling.once(np.arange(4))))
    assert figures == pytest.approx({"apgr": (0.25 + 0.25 + 0.25 + 0.75) / 4, "cpt50": 0.25, "cpt80": 0.75 + 0.25 * 0.6})


def test_calling_the_strong_one_where_it_hurts_is_worse_than_chance() -> None:
    gain = np.array([0.0, 0, 1, 1])
    figures = plain(ranked(-gain, gain, Resampling.once(np.arange(4))))
    assert figures == pytest.approx({"apgr": 0.25, "cpt50": 0.75, "cpt80": 0.9})


def test_resampled_figures_are_those_of_the_repeated_rows() -> None:
    rng = np.random.default_rng(3)
    advantage, gain = rng.normal(size=40).round(1), rng.normal(0.3, 1, 40)
    weights = rng.integers(0, 3, size=(1, 40)).astype(float)
    rows = np.repeat(np.arange(40), weights[0].astype(int))
    expected = plain(ranked(advantage[rows], gain[rows], Resampling.once(np.arange(len(rows)))))
    assert plain(ranked(advantage, gain, Resampling(weights, np.arange(40)))) == pytest.approx(expected)


def test_strong_is_who_was_better_in_training(table: Any, routers: Any) -> None:
    always = routers.Always(routers.options, table.services)
    assert measured(table, always)["pgr"] == 0
    turned = table.means[::-1].copy()
    assert measured(table, always, candidate_means=turned) == dict.fromkeys(NAMES)  # the strong one is now the worse one


def test_of_two_as_good_in_training_the_dearer_is_strong(table: Any, routers: Any) -> None:
    alike = table.means.copy()
    alike[:, 0] = 0.5
    large = routers.Always(routers.options, table.services)
    large.candidate = 1
    assert measured(table, large, candidate_means=alike)["pgr"] == 1


def test_without_a_quality_in_training_nobody_is_strong(table: Any, routers: Any) -> None:
    unknown = table.means.copy()
    unknown[0, 0] = np.nan
    assert measured(table, routers.Greedy(routers.options, table.services), candidate_means=unknown) == dict.fromkeys(NAMES)


@pytest.mark.parametrize("quality", [[[1, 1], [0, 0]], [[1, 0, 1], [0, 1, 1]], [[1], [0]]], ids=["no gap", "three candidates", "one candidate"])
def test_without_a_gap_between_two_there_is_nothing_to_recover(make_table: Any, routers: Any, quality: Any) -> None:
    table = make_table(quality, [[1, 2, 3][: len(row)] for row in quality])
    assert measured(table, routers.Greedy(routers.options, table.services)) == dict.fromkeys(NAMES)


def test_utilities_that_are_not_known_rank_nothing(table: Any, routers: Any) -> None:
    comparison = table.compare({"it": routers.Greedy(routers.options, table.services)})
    figures = metrics(attrs.evolve(comparison, utility=np.full_like(comparison.utility, np.nan)), table.reward)["routers"]["it"]
    assert {name: figures[name] for name in NAMES} == pytest.approx({"pgr": 1, "apgr": None, "cpt50": None, "cpt80": None})
