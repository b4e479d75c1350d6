from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from aamc_experiments.evaluation import HEADLINE, Comparison, ComparisonRequest, compare_streams, known_interval, metrics, two_way

from aamc_sdk.errors import PluginError, PreferenceError
from aamc_sdk.types import Outcomes, Preference, RoutingRequest

STREAMS, STEPS = 3, 5


class Line:
    """Streams in which the candidate taken last has become slower, so a decision changes what comes after it."""

    def __init__(self, table: Any, streams: Any, preferences: Any, seed: int) -> None:
        self.table, self.streams, self.preferences, self.seed = table, streams, preferences, seed
        self.num_envs, self.step_number = len(streams), 0
        self.load = np.zeros((len(streams), 2))

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.seed, self.step_number = seed or 0, 0
        self.load[:] = 0
        return None, {}

    @property
    def rows(self) -> Any:
        return (self.streams + self.step_number + self.seed) % len(self.table.request)

    def request(self) -> RoutingRequest:
        seen = attrs.evolve(self.table.request, hindsight=self.table.outcomes).take(self.rows)
        expected = attrs.evolve(seen.expected, latency_ms=seen.expected.latency_ms + self.load)
        request: RoutingRequest = attrs.evolve(seen, expected=expected, preferences=self.preferences)
        return request

    def step(self, actions: Any) -> Any:
        rows, stream = self.rows, np.arange(self.num_envs)
        outcomes = self.table.outcomes
        waited = self.load[stream, actions].copy()
        self.load[stream, actions] += 50.0
        self.step_number += 1
        info = {
            "quality": outcomes.quality[rows, actions],
            "cost_usd": outcomes.cost_usd[rows, actions],
            "latency_ms": outcomes.latency_ms[rows, actions] + waited,
            "row": rows,
        }
        return None, None, None, None, info

    def close(self) -> None: ...


class Lines:
    """An environment of such streams; remembers how many it was asked for."""

    message_name = "environment 'lines'"

    def __init__(self, table: Any) -> None:
        self.table = table
        self.asked: list[int] = []

    def vector(self, n: int, split: str, *, request: Any = None, seed: int = 0, streams: Any = None, preferences: Any = None) -> Line:
        self.asked.append(n)
        return Line(self.table, streams, preferences, seed)


def play(table: Any, routers: dict[str, Any], warm_up: int = 0, **changes: Any) -> tuple[Comparison, Lines]:
    env = Lines(table)
    arguments: dict[str, Any] = {
        "reward": table.reward,
        "headline": Preference(),
        "seed": 0,
        "categories": ["a", "b", "c", "d"],
        "candidate_means": table.means,
    }
    compared = ComparisonRequest(routers=routers, request=table.request, **(arguments | changes))
    return compare_streams(compared, env, "test", streams=STREAMS, steps=STEPS, warm_up=warm_up), env  # type: ignore[arg-type]  # all that is used of one


def test_only_a_router_s_own_errors_are_said_to_be_its(table: Any, routers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(routers.Greedy):
        def score(self, request: Any) -> Any:
            raise ValueError("shape mismatch")

    with pytest.raises(PluginError, match="router 'broken' failed: ValueError: shape mismatch"):
        play(table, {"good": routers.Greedy(routers.options, table.services), "broken": Broken(routers.options, table.services)})

    def fail(self: Any, actions: Any) -> Any:
        raise ValueError("the environment's")

    monkeypatch.setattr(Line, "step", fail)
    with pytest.raises(PluginError, match=r"^environment 'lines' failed: ValueError: the environment's$"):
        play(table, {"good": routers.Greedy(routers.options, table.services)})


def test_every_router_and_preference_meets_the_same_queries(table: Any, routers: Any) -> None:
    comparison, _ = play(table, {"greedy": routers.Greedy(routers.options, table.services), "dice": routers.Dice(routers.options, table.services)})
    assert comparison.chosen.shape == (2, 43, STREAMS * STEPS)
    assert comparison.stream.tolist() == [0, 1, 2] * STEPS
    rows = [(stream + step) % 4 for step in range(STEPS) for stream in range(STREAMS)]
    assert comparison.category.tolist() == ["abcd"[row] for row in rows]
    chosen = comparison.chosen[:, :]
    np.testing.assert_allclose(comparison.quality, table.outcomes.quality[np.array(rows), chosen])


def test_a_decision_changes_what_comes_after_it(table: Any, routers: Any) -> None:
    comparison, _ = play(table, {"always": routers.Always(routers.options, table.services)})
    assert comparison.latency_ms[0, 0, comparison.stream == 0].tolist() == [100, 150, 200, 250, 300]


def test_the_warm_up_is_played_and_does_not_count(table: Any, routers: Any) -> None:
    comparison, _ = play(table, {"always": routers.Always(routers.options, table.services)}, warm_up=2)
    assert comparison.latency_ms[0, 0, comparison.stream == 0].tolist() == [200, 250, 300, 350, 400]
    assert comparison.warm_up_latency_ms[0, 0] == 150  # of its second half
    assert play(table, {"always": routers.Always(routers.options, table.services)})[0].warm_up_latency_ms.size == 0


def test_what_ignores_the_preference_is_played_once(table: Any, routers: Any) -> None:
    everyone = {name: getattr(routers, name)(routers.options, table.services) for name in ("Always", "Dice", "Greedy")}
    comparison, env = play(table, everyone)
    assert env.asked == [STREAMS, STREAMS, 43 * STREAMS]
    for played in comparison.latency_ms[:2]:
        np.testing.assert_array_equal(played, np.tile(played[0], (43, 1)))


def test_draws_are_the_same_at_every_preference(table: Any, routers: Any) -> None:
    class WeighedDice(routers.Dice):
        uses_preference = True

    comparison, _ = play(table, {"dice": WeighedDice(routers.options, table.services)})
    (chosen,) = comparison.chosen
    assert len(np.unique(chosen[0])) == 2
    np.testing.assert_array_equal(chosen, np.tile(chosen[0], (43, 1)))


def test_utilities_are_recorded_at_quality_alone(table: Any, routers: Any) -> None:
    comparison, _ = play(table, {"greedy": routers.Greedy(routers.options, table.services)})
    rows = np.array([(stream + step) % 4 for step in range(STEPS) for stream in range(STREAMS)])
    np.testing.assert_allclose(comparison.utility[0], table.outcomes.quality[rows], rtol=1e-6)


def test_only_privileged_routers_see_true_expectations(table: Any, routers: Any) -> None:
    plain = routers.Greedy(routers.options, table.services)
    play(table, {"greedy": plain, "prophet": routers.Prophet(routers.options, table.services)})
    assert len(plain.seen) == STEPS
    assert all(request.hindsight is None for request in plain.seen)


def test_figures_come_from_what_was_played(table: Any, routers: Any) -> None:
    comparison, _ = play(table, {"llm-only": routers.Always(routers.options, table.services)})
    figures = metrics(comparison, table.reward)["routers"]["llm-only"]
    assert figures["mean_latency_ms"] == pytest.approx(200)
    assert figures["mean_cost_usd"] == pytest.approx(1)
    assert figures["missing"] == 0
    latency = comparison.latency_ms[0, HEADLINE][:, None]
    streams, questions, queries = (known_interval(each.means(latency)[:, 0]) for each in comparison.resamplings(1000, 0))
    assert streams == pytest.approx([200, 200])  # each stream waited alike, its questions did not
    assert figures["ci95"]["mean_latency_ms"] == two_way([streams, questions, queries]) == questions


def test_what_needs_a_table_of_both_candidates_does_not_apply(table: Any, routers: Any) -> None:
    comparison, _ = play(table, {"greedy": routers.Greedy(routers.options, table.services)})
    figures = metrics(comparison, table.reward)
    greedy = figures["routers"]["greedy"]
    assert [greedy[name] for name in ("pgr", "apgr", "cpt50", "cpt80")] == [None] * 4
    assert figures["zero_router"] == {"aiq": pytest.approx((0.35 + 0.65) / 2), "ci95": {"aiq": None}}


def test_forecasts_are_those_of_the_candidates_chosen_at_quality_alone(table: Any, routers: Any) -> None:
    large = routers.Always(routers.options, table.services)
    large.candidate = 1
    comparison, _ = play(table, {"large": large})
    forecasts = np.tile(np.array([0.0, 0.75]), (1, STREAMS * STEPS, 1))
    figures = metrics(attrs.evolve(comparison, expected_quality=forecasts), table.reward)["routers"]["large"]
    errors = table.outcomes.quality[[(stream + step) % 4 for step in range(STEPS) for stream in range(STREAMS)], 1] - 0.75
    assert figures["brier"] == pytest.approx((errors**2).mean())
    assert figures["ece"] == pytest.approx(abs(errors.mean()))


def test_whole_streams_change_sign_in_paired_tests(table: Any, routers: Any) -> None:
    everyone = {name: routers.Always(routers.options, table.services) for name in ("small", "large")}
    everyone["large"].candidate = 1
    comparison, _ = play(table, everyone, headline=Preference(0, 1, 0))
    (pair,) = metrics(comparison, table.reward)["comparisons"]
    assert pair["difference"] == pytest.approx(1)
    assert pair["p"] == pytest.approx(2 / 2**STREAMS, abs=0.02)  # fifteen queries, but three coins


def test_hulls_start_at_the_cheapest_candidates_training_mean(table: Any, routers: Any) -> None:
    comparison, _ = play(table, {"always": routers.Always(routers.options, table.services)})
    quality_played = comparison.quality[0, 0].mean()
    expected = max(quality_played, table.means[0, 0])
    assert metrics(comparison, table.reward)["routers"]["always"]["aiq"] == pytest.approx(expected)


def test_an_untimed_reward_refuses_a_preference_for_latency_alone(table: Any, routers: Any) -> None:
    table.reward.fit(Outcomes(table.outcomes.quality, table.outcomes.cost_usd, np.full((4, 2), np.nan)))
    with pytest.raises(PreferenceError, match="only latency"):
        play(table, {"always": routers.Always(routers.options, table.services)}, headline=Preference(0, 0, 1))


def streams_of(latency_ms: Any) -> Comparison:
    """Return a comparison of one router at one preference, from latencies ``[steps, streams]``."""
    steps, streams = latency_ms.shape
    played = latency_ms.reshape(1, 1, -1)
    empty = np.zeros((1, played.size, 1))
    return Comparison(
        routers=np.array(["busy"]),
        preferences=np.array([[1.0, 0.0, 0.0]]),
        queries=np.full(played.size, ""),
        category=np.full(played.size, ""),
        candidates=np.array(["a"]),
        candidate_means=np.ones((1, 3)),
        scales=np.ones((2, 2)),
        chosen=np.zeros(played.shape, dtype=np.intp),
        spent_usd=np.zeros(played.shape),
        expected_quality=empty,
        utility=empty,
        stream=np.tile(np.arange(streams), steps),
        quality=np.ones(played.shape),
        cost_usd=np.ones(played.shape),
        latency_ms=played,
        missing=np.array(0),
    )


def test_waits_that_still_grow_at_the_end_of_the_streams_are_found() -> None:
    rng = np.random.default_rng(0)
    steady = rng.exponential(100.0, (48, 64))
    assert streams_of(steady).growing_waits() == []
    assert streams_of(steady + 10.0 * np.arange(48)[:, None]).growing_waits() == ["busy"]
    assert streams_of(steady + 10.0 * np.arange(48)[::-1, None]).growing_waits() == []
    assert streams_of(steady[:2]).growing_waits() == []
    slight = streams_of(100.0 + 0.1 * np.arange(48)[:, None] + rng.random((48, 64)))  # 2%, which is too little
    both = {"routers": np.array(["quick", "slow"]), "latency_ms": np.concatenate([slight.latency_ms, 10.0 * slight.latency_ms])}
    assert attrs.evolve(slight, **both).growing_waits() == []


def test_waits_that_have_grown_since_the_warm_up_are_found(tmp_path: Path) -> None:
    steady = streams_of(np.random.default_rng(0).exponential(100.0, (48, 64)))
    since = {share: attrs.evolve(steady, warm_up_latency_ms=np.full((1, 64), share * 100.0)) for share in (0.7, 1.0, 1.3)}
    assert {share: found.growing_waits() for share, found in since.items()} == {0.7: ["busy"], 1.0: [], 1.3: []}
    for name, comparison in (("alone", steady), ("since", since[0.7])):
        comparison.save(tmp_path / name)
    assert (tmp_path / "alone").read_bytes() == (tmp_path / "since").read_bytes()  # no figure counts the warm-up
