from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np
import pytest
from aamc_experiments.evaluation import Comparison, metrics
from aamc_experiments.evaluation.comparison import LATTICE
from aamc_experiments.settings import Evaluation

from aamc_sdk.types import Preference

KEYS = {
    *("model_share_ci95", "cost_at_quality_ci95"),
    *("success_rate", "mean_quality", "mean_cost_usd", "mean_latency_ms", "p95_latency_ms", "efficiency", "mean_reward"),
    *("decision_cost_usd", "ci95", "per_category", "model_share", "missing", "frontier", "cost_at_quality", "aiq"),
    *("pgr", "apgr", "cpt50", "cpt80", "arena_score", "hypervolume", "expected_utility", "sparsity", "worst_regret", "brier", "ece"),
}


@pytest.fixture
def compared(table: Any, routers: Any) -> dict[str, Any]:
    large = routers.Always(routers.options, table.services)
    large.candidate = 1
    everyone = {
        "llm-only": large,
        "small": routers.Always(routers.options, table.services),
        "greedy": routers.Greedy(routers.options, table.services),
    }
    return metrics(table.compare(everyone, headline=Preference(0.5, 0.5, 0)), table.reward, source="by hand", cost_note="made up")


def test_every_key_of_the_format_is_there(compared: dict[str, Any]) -> None:
    assert compared["schema"] == 1
    expected = {"source": "by hand", "queries": 4, "questions": 4, "models": ["m0", "m1"], "preference": [0.5, 0.5, 0.0], "cost_note": "made up"}
    assert compared["data"] == expected
    for figures in compared["routers"].values():
        assert set(figures) == KEYS
        assert len(figures["frontier"]) == 21
    json.dumps(compared, allow_nan=False)


def test_the_large_candidates_figures_by_hand(compared: dict[str, Any]) -> None:
    large = compared["routers"]["llm-only"]
    assert large["success_rate"] == pytest.approx(3 / 4)
    assert large["mean_quality"] == pytest.approx(2.6 / 4)
    assert large["mean_cost_usd"] == pytest.approx(10)
    assert large["mean_latency_ms"] == pytest.approx(300)
    assert large["p95_latency_ms"] == pytest.approx(np.percentile([200, 200, 200, 600], 95))
    assert large["mean_reward"] == pytest.approx(0.5 * 0.65 + 0.5 * 0)
    assert large["efficiency"] == pytest.approx(3 / 4)
    assert large["model_share"] == {"m0": 0, "m1": 1}
    odd = {name: figure for name, figure in large["per_category"]["odd"].items() if name != "ci95"}
    assert odd == pytest.approx({"n": 2, "success_rate": 0.5, "mean_quality": 0.5, "mean_cost_usd": 10})


def test_shares_of_none_or_all_have_exact_intervals(compared: dict[str, Any]) -> None:
    large, unseen = compared["routers"]["llm-only"], 1 - 0.025 ** (1 / 4)
    assert large["model_share_ci95"]["m0"] == pytest.approx([0, unseen])
    assert large["model_share_ci95"]["m1"] == pytest.approx([1 - unseen, 1])


def test_shares_of_single_rows_have_exact_intervals_and_graded_qualities_those_of_resamples(compared: dict[str, Any]) -> None:
    large = compared["routers"]["llm-only"]
    assert large["ci95"]["success_rate"] == pytest.approx([0.1941, 0.9937], abs=1e-4)  # three of four
    assert large["ci95"]["mean_quality"] == [0, 1]  # of one draw
    assert large["per_category"]["odd"]["ci95"]["success_rate"] is None  # one of two


def test_a_category_has_the_interval_of_its_own_questions_alone(large_table: Any, routers: Any) -> None:
    def of_odd(comparison: Comparison) -> Any:
        figures = metrics(comparison, large_table.reward)["routers"]["random"]["per_category"]["odd"]
        return figures["n"], figures["ci95"]

    everything = large_table.compare({"random": routers.Dice(routers.options, large_table.services)})
    odd = everything.category == "odd"
    others = attrs.evolve(
        everything, quality=np.where(odd[:, None], everything.quality, 0.5), cost_usd=everything.cost_usd * np.where(odd, 1, 9)[:, None]
    )
    assert of_odd(others) == of_odd(everything)
    n, ci95 = of_odd(everything)
    assert ci95["mean_quality"] == ci95["success_rate"]  # all its qualities are 0 or 1, though not those of others
    assert n == 30


def test_efficiency_weighs_cost_and_latency_in_units_of_the_large_one(compared: dict[str, Any]) -> None:
    small = compared["routers"]["small"]
    assert small["efficiency"] == pytest.approx(0.25 / (0.5 * 1 / 10 + 0.5 * 100 / 300))


def test_a_fixed_candidates_frontier_is_the_line_from_the_cheapest(compared: dict[str, Any]) -> None:
    large, small = compared["routers"]["llm-only"], compared["routers"]["small"]
    assert large["aiq"] == pytest.approx((0.35 + 0.65) / 2)
    assert small["aiq"] == pytest.approx(0.35)
    assert small["cost_at_quality"] == dict.fromkeys(("0.90", "0.95", "0.97", "0.99", "1.00"))
    share = (0.9 * 0.65 - 0.35) / (0.65 - 0.35)
    assert large["cost_at_quality"]["0.90"] == pytest.approx((1 + share * 9) / 10)
    assert large["cost_at_quality"]["1.00"] == pytest.approx(1)


def test_choosing_well_gives_the_best_quality_at_part_of_its_cost(compared: dict[str, Any]) -> None:
    greedy = compared["routers"]["greedy"]
    assert greedy["frontier"][0]["mean_quality"] == pytest.approx(2.6 / 4)
    assert greedy["frontier"][0]["mean_cost_usd"] == pytest.approx((1 + 10 + 10 + 1) / 4)
    assert greedy["cost_at_quality"]["1.00"] == pytest.approx(0.55)


def test_expected_utility_is_the_mean_over_the_lattice(table: Any, routers: Any) -> None:
    comparison = table.compare({"small": routers.Always(routers.options, table.services)})
    weights = comparison.preferences[LATTICE]
    by_hand = (weights @ [0.35, 1, 1]).mean()
    assert metrics(comparison, table.reward)["routers"]["small"]["expected_utility"] == pytest.approx(by_hand)


def test_without_the_reference_router_there_is_no_efficiency(table: Any, routers: Any) -> None:
    figures = metrics(table.compare({"small": routers.Always(routers.options, table.services)}), table.reward)["routers"]["small"]
    assert figures["efficiency"] is None
    assert figures["ci95"]["efficiency"] is None


def test_candidates_that_cost_nothing_have_no_efficiency(make_table: Any, routers: Any) -> None:
    table = make_table([[1, 1], [0, 1]], [[0, 0], [0, 0]], [[100, 200], [100, 300]])
    figures = metrics(table.compare({"llm-only": routers.Always(routers.options, table.services)}), table.reward)["routers"]["llm-only"]
    assert (figures["mean_cost_usd"], figures["efficiency"]) == (0.0, None)


@pytest.mark.parametrize("latency", [None, [[np.nan, 200], [np.nan, 300]]])
def test_where_a_latency_is_unknown_efficiency_counts_cost_alone(make_table: Any, routers: Any, latency: Any) -> None:
    table = make_table([[1, 1], [0, 1]], [[1, 4], [1, 4]], latency)
    large = routers.Always(routers.options, table.services)
    large.candidate = 1
    everyone = {"llm-only": large, "small": routers.Always(routers.options, table.services)}
    result = metrics(table.compare(everyone), table.reward)
    small = result["routers"]["small"]
    assert result["data"]["preference"] == pytest.approx([0.9 / 0.98, 0.08 / 0.98, 0])
    assert small["efficiency"] == pytest.approx(0.5 / (1 / 4))
    assert result["routers"]["llm-only"]["efficiency"] == pytest.approx(1.0)
    assert small["mean_latency_ms"] is None
    assert small["p95_latency_ms"] is None
    assert small["ci95"]["mean_latency_ms"] is None
    assert small["frontier"][0]["mean_latency_ms"] is None
    assert small["mean_reward"] == pytest.approx((0.9 * 0.5 + 0.08) / 0.98)


def test_the_cost_of_deciding_is_part_of_the_cost(table: Any, routers: Any) -> None:
    router = routers.Always(routers.options, table.services)
    router.spent_usd = 0.5
    figures = metrics(table.compare({"small": router}), table.reward)["routers"]["small"]
    assert figures["decision_cost_usd"] == pytest.approx(0.5)
    assert figures["mean_cost_usd"] == pytest.approx(1.5)


def test_success_is_a_quality_of_at_least_the_threshold(table: Any, routers: Any) -> None:
    comparison = table.compare({"small": routers.Always(routers.options, table.services)})
    rates = [metrics(comparison, table.reward, Evaluation(success_threshold=at))["routers"]["small"]["success_rate"] for at in (0.4, 0.41, 1.0)]
    assert rates == [0.5, 0.25, 0.25]


def test_a_pool_of_one_has_figures_but_no_frontier(make_table: Any, routers: Any) -> None:
    table = make_table([[1], [0]], [[2], [2]], [[5], [5]])
    figures = metrics(table.compare({"llm-only": routers.Always(routers.options, table.services)}), table.reward)["routers"]["llm-only"]
    assert figures["success_rate"] == 0.5
    assert figures["aiq"] is None
    assert figures["cost_at_quality"]["1.00"] == 1


@pytest.mark.parametrize("seed", range(4))
def test_the_only_candidates_cost_is_its_own_to_the_last_digit(make_table: Any, routers: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = make_table(rng.random((200, 1)), 10 * rng.random((200, 1)))
    figures = metrics(table.compare({"only": routers.Always(routers.options, table.services)}), table.reward, Evaluation(resamples=10))["routers"][
        "only"
    ]
    assert set(figures["cost_at_quality"].values()) == {1}
    assert set(map(tuple, figures["cost_at_quality_ci95"].values())) == {(1, 1)}


def test_intervals_hold_the_figure_and_follow_from_the_seed(large_table: Any, routers: Any) -> None:
    everyone = {
        "greedy": routers.Greedy(routers.options, large_table.services),
        "llm-only": routers.Always(routers.options, large_table.services),
    }
    comparison = large_table.compare(everyone)
    first, again, other = (metrics(comparison, large_table.reward, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    for figures in first["routers"].values():
        for metric, bounds in figures["ci95"].items():
            assert (bounds is None) == (figures[metric] is None), metric
            assert bounds is None or metric == "ece" or bounds[0] <= figures[metric] <= bounds[1], metric  # resampling adds to ece
        for part in (*figures["frontier"], *figures["per_category"].values()):
            assert set(part["ci95"]) == set(part) - {"ci95", "preference", "n"}
            assert all(low <= part[metric] <= high for metric, (low, high) in part["ci95"].items())
        for name in ("model_share", "cost_at_quality"):
            assert set(figures[f"{name}_ci95"]) == set(figures[name])
        assert all(low <= figures["model_share"][model] <= high for model, (low, high) in figures["model_share_ci95"].items())


def test_a_quality_that_few_resamples_reach_has_an_interval_without_an_upper_bound(make_table: Any, routers: Any) -> None:
    table = make_table([[1, 0], [0, 1]] * 50 + [[0, 1]], [[1, 2]] * 101)  # the expensive candidate, never chosen here, is better by chance
    figures = metrics(table.compare({"small": routers.Always(routers.options, table.services)}), table.reward)["routers"]["small"]
    assert figures["cost_at_quality"]["0.97"] == 0.5
    assert figures["cost_at_quality_ci95"]["0.97"] == [0.5, None]


def test_costs_are_relative_to_the_best_candidate_on_the_data_in_every_resample(make_table: Any, routers: Any) -> None:
    table = make_table([[1, 0], [0, 1]] * 30, [[1, 2]] * 60)  # the expensive candidate is better in about half of the resamples
    figures = metrics(table.compare({"small": routers.Always(routers.options, table.services)}), table.reward)["routers"]["small"]
    assert figures["cost_at_quality"]["1.00"] == 1
    assert figures["cost_at_quality_ci95"]["1.00"] == [1, 1]


def test_a_quality_that_no_resample_reaches_has_no_interval(make_table: Any, routers: Any) -> None:
    table = make_table([[0, 1]] * 2, [[1, 2]] * 2)
    figures = metrics(table.compare({"small": routers.Always(routers.options, table.services)}), table.reward)["routers"]["small"]
    assert set(figures["cost_at_quality_ci95"].values()) == {None}


def _intervals(document: Any, key: str = "") -> Iterator[Any]:
    """Yield every interval below a key."""
    if isinstance(document, dict) and not key.endswith("ci95"):
        for name, value in document.items():
            yield from _intervals(value, name)
    elif isinstance(document, list) and key != "ci95":
        for value in document:
            yield from _intervals(value)
    elif key.endswith("ci95"):
        yield from document.values() if isinstance(document, dict) else [document]


def test_one_stream_or_question_alone_has_figures_but_no_interval(large_table: Any, routers: Any) -> None:
    everyone = {"greedy": routers.Greedy(routers.options, large_table.services), "oracle": routers.Prophet(routers.options, large_table.services)}
    together = attrs.evolve(large_table.compare(everyone), stream=np.zeros(60, dtype=np.intp))
    document = metrics(together, large_table.reward, Evaluation(resamples=30))
    assert document["routers"]["greedy"]["mean_quality"] > 0
    assert document["comparisons"][0]["p"] == 1
    found = list(_intervals(document))
    assert len(found) > 100
    assert set(map(str, found)) == {"None"}


def test_worst_regret_is_the_greatest_shortfall_to_the_oracle(table: Any, routers: Any) -> None:
    everyone = {"small": routers.Always(routers.options, table.services), "oracle": routers.Prophet(routers.options, table.services)}
    compared = metrics(table.compare(everyone), table.reward)["routers"]
    assert compared["small"]["worst_regret"] == pytest.approx(0.65 - 0.35)  # at quality alone
    assert compared["oracle"]["worst_regret"] == 0


def test_without_the_oracle_there_is_no_regret(compared: dict[str, Any]) -> None:
    assert [figures["worst_regret"] for figures in compared["routers"].values()] == [None] * 3


def test_a_fixed_candidate_offers_one_point_to_all_preferences(compared: dict[str, Any]) -> None:
    small, large = compared["routers"]["small"], compared["routers"]["llm-only"]
    assert small["hypervolume"] == pytest.approx(0.35 * 1 * 1)
    assert large["hypervolume"] == pytest.approx(0.65 * 0 * 0)
    assert small["sparsity"] is None


def test_two_points_leave_one_gap_in_each_objective(table: Any, routers: Any) -> None:
    prophet = routers.Prophet(routers.options, table.services)
    figures = metrics(table.compare({"oracle": prophet}), table.reward)["routers"]["oracle"]
    # the expensive candidate for queries 1 and 2, for query 1 alone, or for none: quality, cheapness, quickness
    best, middle, thrifty = (0.65, 0.5, 0.75), (0.6, 0.75, 0.875), (0.35, 1, 1)
    gaps = sum((a - b) ** 2 for pair in ((best, middle), (middle, thrifty)) for a, b in zip(*pair, strict=True))
    assert figures["sparsity"] == pytest.approx(gaps / 2)
    assert figures["hypervolume"] == pytest.approx(0.35 + 0.25 * 0.75 * 0.875 + 0.05 * 0.5 * 0.75)


def test_where_latency_is_unknown_there_are_two_objectives(make_table: Any, routers: Any) -> None:
    table = make_table([[0.5, 1], [0.5, 1]], [[1, 4], [1, 4]])
    figures = metrics(table.compare({"oracle": routers.Prophet(routers.options, table.services)}), table.reward)["routers"]["oracle"]
    assert figures["hypervolume"] == pytest.approx(0.5)
    assert figures["sparsity"] == pytest.approx(0.5**2 + 1**2)


def test_the_first_router_is_tested_against_each_other_one(compared: dict[str, Any]) -> None:
    assert [(pair["a"], pair["b"]) for pair in compared["comparisons"]] == [("llm-only", "small"), ("llm-only", "greedy")]
    rewards = {name: figures["mean_reward"] for name, figures in compared["routers"].items()}
    for pair in compared["comparisons"]:
        assert pair["difference"] == pytest.approx(rewards[pair["a"]] - rewards[pair["b"]])
        assert pair["ci95"][0] <= pair["difference"] <= pair["ci95"][1]
        assert pair["p"] <= pair["p_holm"] <= 1


def test_the_zero_router_mixes_single_candidates(compared: dict[str, Any]) -> None:
    assert compared["zero_router"]["aiq"] == pytest.approx((0.35 + 0.65) / 2)
    low, high = compared["zero_router"]["ci95"]["aiq"]
    assert low < 0.5 < high


@pytest.mark.parametrize(
    ("quality", "cost"),
    [([[1], [0]], [[2], [2]]), ([[0.5, 0.5], [0.5, 0.5]], [[1, 1], [1, 1]]), ([[0, 0], [0, 0]], [[0, 0], [0, 0]]), ([[1, 0]], [[1, 2]])],
    ids=["one candidate", "equal scores", "nothing at all", "one row"],
)
def test_a_table_with_nothing_to_compare_has_figures_or_nulls(make_table: Any, routers: Any, quality: Any, cost: Any) -> None:
    table = make_table(quality, cost)
    names = {"greedy": routers.Greedy, "llm-only": routers.Always, "random": routers.Dice, "oracle": routers.Prophet}
    compared = metrics(table.compare({name: make(routers.options, table.services) for name, make in names.items()}), table.reward)
    json.dumps(compared, allow_nan=False)
    for figures in compared["routers"].values():
        assert set(figures) == KEYS
        assert figures["per_category"]["even"]["n"] == 1
    assert compared["routers"]["oracle"]["worst_regret"] == 0
    assert all(pair["p_holm"] == 1 for pair in compared["comparisons"])


def test_a_metric_that_few_resamples_lack_has_the_interval_of_the_others(make_table: Any, routers: Any) -> None:
    rows = [[0.0, 1.0]] * 4 + [[1.0, 1.0]] * 16  # about one resample in ninety has no gap between the two candidates
    table = make_table(rows, [[1, 2]] * 20)
    figures = metrics(table.compare({"random": routers.Dice(routers.options, table.services)}), table.reward)["routers"]["random"]
    assert figures["ci95"]["apgr"] == pytest.approx([0.5, 0.5])
    rows = [[0.0, 1.0]] + [[1.0, 1.0]] * 19  # about one in three
    table = make_table(rows, [[1, 2]] * 20)
    figures = metrics(table.compare({"random": routers.Dice(routers.options, table.services)}), table.reward)["routers"]["random"]
    assert figures["apgr"] == pytest.approx(0.5)
    assert figures["ci95"]["apgr"] is None
