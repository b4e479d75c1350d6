from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from aamc_experiments.evaluation import BINS, Comparison, Resampling, metrics
from aamc_experiments.settings import Evaluation
from aamc_report.result_files import read_results
from aamc_report.results import Results
from aamc_report.sections.cost_quality import hull_band
from aamc_report.sections.destinations import AVOIDABLE, COLOURS, IMPOSSIBLE, OVERRATED, TRADED, UNKNOWN, failure_causes, failure_tables
from aamc_report.sections.disputes import disputes, find_texts
from aamc_report.sections.groups import QueryGroup
from aamc_report.sections.regret import regret_tables, regrets
from aamc_report.sections.reliability import Reliability, reliabilities, reliability_tables

from aamc_sdk.routing import LinearReward, Scale

POINTS = 43


def comparison(chosen: Any, quality: Any, **others: Any) -> Comparison:
    """Return a comparison of R routers, the same at every preference, on a table of Q queries and M candidates."""
    choices, qualities = np.asarray(chosen), np.asarray(quality, dtype=np.float64)
    (r, q), m = choices.shape, qualities.shape[-1]
    usual = {
        "routers": np.array([f"router {n}" for n in range(r)]),
        "preferences": np.tile((0.9, 0.1, 0.0), (POINTS, 1)),
        "queries": np.array([f"{n:064x}" for n in range(q)]),
        "category": np.array(["all"] * q),
        "candidates": np.array([f"model {n}" for n in range(m)]),
        "candidate_means": np.ones((m, 3)),
        "scales": np.array(((1.0, 3.0), (np.nan, np.nan))),
        "chosen": np.repeat(choices[:, None], POINTS, axis=1),
        "spent_usd": np.zeros((r, POINTS, q)),
        "expected_quality": np.full((r, q, m), np.nan),
        "utility": np.zeros((r, q, m)),
        "stream": np.arange(q),
        "quality": qualities,
        "cost_usd": np.ones_like(qualities),
        "latency_ms": np.full_like(qualities, np.nan),
        "missing": np.array(0),
    }
    return Comparison(**{**usual, **others})


def test_a_failure_has_one_cause_by_what_others_would_have_done_and_were_expected_to() -> None:
    #          succeeds    nobody can  overrated   traded      tied         two would: one was expected more of
    quality = [[1, 0, 0], [0, 0.4, 0], [0, 1, 0], [0, 1, 0], [0, 1, 0], [0, 1, 1]]
    expected = np.array([[[0.1, 0.9, 0.9], [0.9, 0.1, 0.1], [0.9, 0.5, 0.1], [0.3, 0.5, 0.1], [0.5, 0.5, 0.1], [0.5, 0.2, 0.8]]])
    causes = failure_causes(comparison([[0] * 6], quality, expected_quality=expected), 0, 0.5)
    assert {cause: rows.astype(int).tolist() for cause, rows in causes.items()} == {
        IMPOSSIBLE: [0, 1, 0, 0, 0, 0],
        OVERRATED: [0, 0, 1, 0, 1, 0],
        TRADED: [0, 0, 0, 1, 0, 1],
    }


def test_a_failure_whose_expectations_are_not_known_is_avoidable_beside_those_that_are_told_apart() -> None:
    #          own unknown  rival unknown  one rival known  all known  nobody can
    quality = [[0, 1, 0], [0, 1, 0], [0, 1, 1], [0, 1, 0], [0, 0, 0]]
    expected = np.array([[[np.nan, 0.5, 0.1], [0.5, np.nan, 0.9], [0.5, np.nan, 0.4], [0.3, 0.5, 0.1], [np.nan, 0.5, 0.1]]])
    causes = failure_causes(comparison([[0] * 5], quality, expected_quality=expected), 0, 0.5)
    assert {cause: rows.astype(int).tolist() for cause, rows in causes.items()} == {
        IMPOSSIBLE: [0, 0, 0, 0, 1],
        OVERRATED: [0, 0, 1, 0, 0],
        TRADED: [0, 0, 0, 1, 0],
        AVOIDABLE: [1, 1, 0, 0, 0],
    }


def test_each_cause_has_a_colour_of_its_own() -> None:
    assert set(COLOURS) == {IMPOSSIBLE, OVERRATED, TRADED, AVOIDABLE, UNKNOWN}
    assert len(set(COLOURS.values())) == len(COLOURS)


def test_a_simulator_that_tells_the_quality_of_all_candidates_has_causes_too() -> None:
    table = comparison([[0] * 3], [[1, 0], [0, 0], [0, 1]], expected_quality=np.array([[[0.5, 0.5], [0.5, 0.5], [0.9, 0.5]]]))
    played = np.zeros((1, POINTS, 3))
    played[0, 0] = [1, 0, 0]
    streams = attrs.evolve(table, quality=played, cost_usd=played, latency_ms=played, counterfactual_quality=table.quality)
    assert not streams.is_table
    expected, found = (failure_causes(compared, 0, 0.5) for compared in (table, streams))
    assert {cause: rows.tolist() for cause, rows in found.items()} == {cause: rows.tolist() for cause, rows in expected.items()}
    assert found[IMPOSSIBLE].tolist() == [False, True, False]
    assert found[OVERRATED].tolist() == [False, False, True]


def test_without_expectations_or_without_a_table_causes_are_not_told_apart() -> None:
    silent = comparison([[0, 0]], [[0, 1], [0, 0]])
    assert {cause: rows.tolist() for cause, rows in failure_causes(silent, 0, 0.5).items()} == {IMPOSSIBLE: [False, True], AVOIDABLE: [True, False]}
    played = attrs.evolve(silent, **{name: np.zeros((1, POINTS, 2)) for name in ("quality", "cost_usd", "latency_ms")})
    assert {cause: rows.tolist() for cause, rows in failure_causes(played, 0, 0.5).items()} == {UNKNOWN: [True, True]}


def test_the_threshold_of_success_is_the_runs_own() -> None:
    found = failure_causes(comparison([[0, 0]], [[0.7, 0.7], [0.9, 0.9]]), 0, 0.8)
    assert found[IMPOSSIBLE].tolist() == [True, False]


def test_regret_is_the_reward_that_the_oracle_has_more() -> None:
    table = comparison([[0, 1], [1, 1]], [[0, 1], [1, 1]], routers=np.array(["cheap", "oracle"]), cost_usd=np.array([[1.0, 3.0], [1.0, 3.0]]))
    assert regrets(table)["cheap"] == pytest.approx([0.9 * 1 - 0.1 * 1, 0.0])
    assert list(regrets(table)) == ["cheap"]


def test_mean_regret_is_the_difference_of_the_mean_rewards_of_metrics(make_run: Any) -> None:
    decisions = read_results(make_run()).decisions
    reward = LinearReward()
    reward.cost, reward.latency = (Scale(*scale) for scale in decisions.scales.tolist())
    figures = metrics(decisions, reward, Evaluation(resamples=10))["routers"]
    for router, values in regrets(decisions).items():
        assert values.mean() == pytest.approx(figures["oracle"]["mean_reward"] - figures[router]["mean_reward"], abs=1e-12)


def test_regret_is_not_known_without_an_oracle_or_under_another_reward() -> None:
    table = comparison([[0], [0]], [[1]], routers=np.array(["cheap", "oracle"]))
    assert regrets(attrs.evolve(table, routers=np.array(["cheap", "other"]))) == {}
    assert regrets(attrs.evolve(table, scales=np.full((2, 2), np.nan))) == {}


def test_bins_hold_means_and_counts_that_give_brier_and_ece_of_metrics(make_run: Any) -> None:
    results = read_results(make_run())
    bins = Reliability.of(results.decisions, 0, results.resamplings)
    figures = metrics(results.decisions, LinearReward(), Evaluation(resamples=10))["routers"]["ppo"]
    known = bins.counts > 0
    gaps = np.abs(bins.realised - bins.expected)[known] @ bins.counts[known] / bins.counts.sum()
    assert gaps == pytest.approx(figures["ece"], abs=1e-12)
    assert bins.counts.sum() == results.decisions.quality.size


def test_a_bin_is_what_it_holds() -> None:
    expected = np.array([[[0.10, 0.12], [0.12, 0.95]]])
    bins = Reliability.of(comparison([[0, 0]], [[0, 1], [1, 1]], expected_quality=expected), 0, [Resampling.once(np.arange(2))])
    assert bins.counts.tolist() == [0, 3, *[0] * (BINS - 3), 1]
    assert bins.expected[[1, -1]] == pytest.approx([0.34 / 3, 0.95])
    assert bins.realised[[1, -1]] == pytest.approx([2 / 3, 1.0])
    assert np.isnan(bins.expected[2])


def test_the_interval_of_a_bin_is_that_of_resampled_queries_and_none_where_few_reach_it() -> None:
    rng = np.random.default_rng(0)
    quality = (rng.random((400, 1)) < 0.3).astype(float)
    expected = np.full((1, 400, 1), 0.3)
    expected[0, 0] = 0.9
    table = comparison([[0] * 400], quality, expected_quality=expected)
    bins = Reliability.of(table, 0, [Resampling.bootstrap(table.stream, 2000, seed=1)])
    half = 1.96 * np.sqrt(bins.realised[4] * (1 - bins.realised[4]) / 399)
    assert bins.interval[:, 4] == pytest.approx((bins.realised[4] - half, bins.realised[4] + half), abs=0.005)
    assert np.isnan(bins.interval[:, 13]).all()
    certain = Reliability.of(
        comparison([[0] * 400], np.ones((400, 1)), expected_quality=expected), 0, [Resampling.bootstrap(table.stream, 100, seed=1)]
    )
    assert certain.interval[:, 4] == pytest.approx((0.025 ** (1 / 399), 1.0))  # the exact interval of 399 of 399


def test_routers_that_expect_the_same_share_their_reliability(make_run: Any) -> None:
    results = read_results(make_run(routers=("ppo", "greedy", "random", "oracle")))
    shared = attrs.evolve(results.decisions, expected_quality=results.decisions.expected_quality[[0, 0, 2, 3]])
    assert list(reliabilities(attrs.evolve(results, decisions=shared))) == [("ppo", "greedy")]
    assert list(reliabilities(results)) == [("ppo",), ("greedy",)]


def test_the_band_of_a_hull_is_its_spread_over_resamples() -> None:
    rng = np.random.default_rng(0)
    quality = (rng.random((500, 2)) < (0.4, 0.8)).astype(float)
    table = comparison([[0] * 500], quality, cost_usd=np.tile((1.0, 2.0), (500, 1)))
    table.chosen[:, 2:] = 1
    low, high = hull_band(table, 0, Resampling.bootstrap(table.stream, 4000, seed=1), np.array([1.0, 1.5, 2.0]))
    ends = quality.mean(axis=0)
    mixed = quality.mean(axis=1)
    half = 1.96 * np.array([quality[:, 0].std(), mixed.std(), quality[:, 1].std()]) / np.sqrt(500)
    middle = np.array([ends[0], ends.mean(), ends[1]])
    assert low == pytest.approx(middle - half, abs=0.004)
    assert high == pytest.approx(middle + half, abs=0.004)


def test_the_most_disputed_questions_come_first_then_those_with_the_most_at_stake() -> None:
    chosen = [[0, 0, 0, 1], [1, 0, 1, 1], [2, 1, 0, 1], [0, 0, 0, 0]]
    quality = [[0, 1, 1], [0, 0, 0], [1, 0, 0], [1, 1, 1]]
    table = comparison(chosen, quality, cost_usd=np.tile((1.0, 2.0, 3.0), (4, 1)))
    first, second, third = disputes(table, 0, 12)
    assert [int(found.sha256, 16) for found in (first, second, third)] == [0, 2, 1]
    assert [(*row.names, *(cell.value for cell in row.cells[1:])) for row in first.answers.rows] == [
        ("model 0: router 0, router 3", 0.0, 1.0),
        ("model 1: router 1", 1.0, 2.0),
        ("model 2: router 2", 1.0, 3.0),
    ]
    assert len(disputes(table, 0, 2)) == 2


def test_routers_that_guess_or_know_or_always_choose_alike_are_no_party_to_a_dispute() -> None:
    chosen = [[0, 1, 0], [0, 1, 1], [1, 1, 1], [1, 0, 0], [1, 0, 0]]
    names = np.array(["ours", "theirs", "constant", "random", "oracle"])
    (found,) = disputes(comparison(chosen, np.ones((3, 2)), routers=names), 0, 12)
    assert int(found.sha256, 16) == 2
    assert [row.names for row in found.answers.rows] == [["model 0: ours, random, oracle"], ["model 1: theirs, constant"]]
    assert disputes(comparison(chosen[:1] + chosen[2:], np.ones((3, 2)), routers=np.delete(names, 1)), 0, 12) == []


def test_a_question_that_stands_twice_is_disputed_once() -> None:
    table = comparison([[0, 0, 1], [1, 1, 1]], np.ones((3, 2)), queries=np.array(["same", "same", "other"]))
    table = attrs.evolve(table, chosen=np.concatenate((table.chosen, np.repeat([[[1, 1, 0]]], POINTS, axis=1))), routers=np.array(["a", "b", "c"]))
    assert [found.sha256 for found in disputes(table, 0, 12)].count("same") == 1


def test_tables_of_one_query_a_category_have_no_interval_and_no_nan(make_run: Any) -> None:
    results = one_of_each(read_results(make_run(routers=("ppo", "oracle"))))
    tables = [*failure_tables(results), *regret_tables(results), *reliability_tables(results)]
    assert len(tables) == 5
    for table in tables:
        assert not any("nan" in cell.text + cell.interval for row in table.rows for cell in row.cells)
    by_category = failure_tables(results)[0]
    assert [bool(row.cells[1].interval) for row in by_category.rows] == [True, *[False] * 40]


def test_regret_and_causes_have_intervals_in_every_group_of_some_size(make_run: Any) -> None:
    results = read_results(make_run(routers=("ppo", "oracle")))
    for table in (*failure_tables(results), *regret_tables(results)):
        for row in table.rows:
            for column, cell in zip(table.columns, row.cells, strict=True):
                assert bool(cell.interval) != (column.title == "Queries"), (table.caption, row.names, column.title)


def test_a_share_of_none_or_all_has_the_exact_interval() -> None:
    flags = np.zeros((40, 2), dtype=bool)
    flags[:, 1] = True
    resampling = Resampling.bootstrap(np.repeat(np.arange(20), 2), 500, seed=1)  # two queries in each of 20 streams
    group = QueryGroup("half", np.arange(40) < 20)
    (none, of_none), (every, of_every) = group.shares(flags, [resampling])
    # 0 of 10 streams: 97.5% of such samples of a share p have at least one where (1 - p)^10 = 0.025
    assert (none, every) == (0.0, 1.0)
    assert of_none == pytest.approx((0.0, 0.3085), abs=1e-4)
    assert of_every == pytest.approx((0.6915, 1.0), abs=1e-4)
    assert np.isnan(QueryGroup("few", np.arange(40) < 4).shares(flags, [resampling])[0][1]).all()
    flags[:10, 0] = True
    assert group.shares(flags, [resampling])[0] == group.means(flags.astype(float), [resampling])[0]


def test_the_mean_of_a_group_has_the_interval_of_resamples_of_its_queries_alone() -> None:
    rng = np.random.default_rng(0)
    rows = rng.random(600) < 0.4
    values = np.column_stack((rng.normal(1.0, 2.0, 600), rng.random(600) < 0.3, np.ones(600)))
    values[~rows] = 50.0  # others, which say nothing of the group
    n, resampling = rows.sum(), Resampling.bootstrap(np.arange(600), 4000, seed=1)
    *uncertain, (mean, (low, high)) = QueryGroup("some", rows).means(values, [resampling])
    assert (mean, np.isnan(low), np.isnan(high)) == (1.0, True, True)
    for (found, interval), own in zip(uncertain, values[rows].T, strict=False):
        half = 1.96 * own.std() / np.sqrt(n)
        assert found == pytest.approx(own.mean())
        assert interval == pytest.approx((found - half, found + half), abs=max(0.08 * half, 1.1 / n))  # shares move by steps of 1 / draws
    nobody = QueryGroup("nobody", np.zeros(600, dtype=bool)).means(values, [resampling])
    assert np.isnan([number for mean, bounds in nobody for number in (mean, *bounds)]).all()


def one_of_each(results: Results) -> Results:
    """Return results in which every query has a category of its own."""
    names = [f"category {n}" for n in range(len(results.decisions.queries))]
    routers = {name: {**figures, "per_category": {category: {"n": 1} for category in names}} for name, figures in results.routers.items()}
    return attrs.evolve(results, routers=routers, decisions=attrs.evolve(results.decisions, category=np.array(names)))


def test_texts_are_those_of_the_runs_data_and_missing_where_it_is_gone(make_run: Any) -> None:
    folder: Path = make_run()
    results = read_results(folder)
    wanted = set(results.decisions.queries[[3, 5]].tolist())
    assert sorted(find_texts(results.run, wanted | {"0" * 64}).values()) == ["What is 3 and 3?", "What is 5 and 5?"]
    (folder.parent / "questions.csv").unlink()
    assert find_texts(results.run, wanted) == {}
