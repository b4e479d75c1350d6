from __future__ import annotations

import json
from typing import Any

import attrs
import numpy as np
import pytest
from aamc_experiments.evaluation import Comparison, ConstantOutcomes, constant_routers, promotion

from aamc_sdk.routing import LinearReward
from aamc_sdk.types import Outcomes


@attrs.frozen
class Case:
    """A comparison on a table at one preference, and the reward that it is about."""

    comparison: Comparison
    reward: LinearReward

    def gate(self, router: str = "router", **changes: Any) -> dict[str, Any]:
        return promotion(attrs.evolve(self.comparison, **changes), ConstantOutcomes.of(self.comparison, self.reward), self.reward, router)


def case(quality: Any, cost: Any, chosen: dict[str, Any], latency: Any = None, weights: tuple[float, float, float] = (1.0, 0.0, 0.0)) -> Case:
    """Say what each router chose of a table whose rows are repeated columns where they are given once."""
    quality = np.asarray(quality, dtype=float)
    cost = np.broadcast_to(np.asarray(cost, dtype=float), quality.shape)
    latency = np.broadcast_to(np.nan if latency is None else np.asarray(latency, dtype=float), quality.shape)
    rows, candidates = quality.shape
    outcomes = Outcomes(quality, cost, latency)
    reward = LinearReward()
    reward.fit(outcomes)
    shape, unknown = (len(chosen), 1, rows), np.full((len(chosen), rows, candidates), np.nan)
    comparison = Comparison(
        routers=np.array(list(chosen)),
        preferences=np.array([weights]),
        queries=np.arange(rows).astype(str),
        category=np.full(rows, ""),
        candidates=np.array([f"m{m}" for m in range(candidates)]),
        candidate_means=outcomes.means,
        scales=np.full((2, 2), np.nan),
        chosen=np.stack([np.broadcast_to(picks, rows) for picks in chosen.values()])[:, None],
        spent_usd=np.zeros(shape),
        spent_ms=np.zeros(shape),
        expected_quality=unknown,
        utility=unknown,
        stream=np.arange(rows),
        quality=quality,
        cost_usd=cost,
        latency_ms=latency,
        missing=np.array(0),
    )
    return Case(comparison, reward)


@pytest.fixture
def good() -> Case:
    """The expensive candidate is needed for one query in four, and the router knows for which; 200 of them."""
    quality = np.tile([[1, 1], [1, 1], [1, 1], [0, 1]], (50, 1))
    return case(quality, [1, 10], {"router": np.tile([0, 0, 0, 1], 50), "oracle": np.tile([0, 0, 0, 1], 50)}, [100, 300])


def test_the_gaps_by_hand(good: Case) -> None:
    verdict = good.gate()["routers"]["router"]
    share = (3.25 - 1) / 9
    assert verdict["mean_cost_usd"] == pytest.approx(3.25)
    assert verdict["mixture"] == pytest.approx({"m0": 1 - share, "m1": share})
    assert verdict["constant_quality"] == pytest.approx(0.75 + 0.25 * share)
    assert verdict["quality_gap"] == pytest.approx(1 - (0.75 + 0.25 * share))
    assert verdict["reward_gap"] == pytest.approx(0)
    low, high = verdict["ci95"]["quality_gap"]
    assert 0 < low < verdict["quality_gap"] < high


def test_a_clear_winner_passes_and_one_sentence_says_so(good: Case) -> None:
    gate = good.gate()
    assert gate["passed"] is True
    assert gate["why"].startswith(
        "router passes the gate: compared with the best constant choice at its cost (75% m0 + 25% m1), its quality is +0.1875 (95% "
    )
    assert json.loads(json.dumps(gate, allow_nan=False)) == gate


@pytest.mark.parametrize("candidate", [0, 1])
def test_a_constant_choice_never_passes(candidate: int) -> None:
    quality = np.random.default_rng(0).random((300, 2))
    cost = np.random.default_rng(1).random((300, 2)) / 3
    gate = case(quality, cost, {"router": candidate}).gate()
    assert gate["routers"]["router"]["quality_gap"] == pytest.approx(0, abs=0.05)
    assert gate["passed"] is False
    assert "router does not pass the gate" in gate["why"]
    assert "not clearly above zero" in gate["why"]


def test_what_deciding_costs_can_fail_a_router(good: Case) -> None:
    assert good.gate(spent_usd=np.full((2, 1, 200), 7.0))["passed"] is False  # as expensive as always choosing the good one


def test_where_latency_counts_reward_must_be_better_too(good: Case) -> None:
    weighed = np.array([[0.8, 0.0, 0.2]])
    case = attrs.evolve(good, comparison=attrs.evolve(good.comparison, preferences=weighed))
    quick, slow = case.gate(), case.gate(spent_ms=np.full((2, 1, 200), 150.0))
    assert quick["passed"] is True
    assert quick["routers"]["router"]["tests"] == ["quality_gap", "reward_gap"]
    # 0.8 x 1 + 0.2 x 0.75 compared with the better of 0.8 x 0.75 + 0.2 and 0.8
    assert quick["routers"]["router"]["reward_gap"] == pytest.approx(0.95 - 0.8)
    assert slow["routers"]["router"]["reward_gap"] == pytest.approx(0.95 - 0.8 - 0.2 * 150 / 200)
    assert slow["routers"]["router"]["quality_gap"] == pytest.approx(quick["routers"]["router"]["quality_gap"])
    assert slow["passed"] is False


def test_where_latency_does_not_count_only_quality_at_cost_is_tested(good: Case) -> None:
    slow = good.gate(spent_ms=np.full((2, 1, 200), 1e6))
    assert slow["routers"]["router"]["tests"] == ["quality_gap"]
    assert slow["passed"] is True


def test_a_dominated_candidate_is_in_no_mixture() -> None:
    quality = np.tile([0.2, 0.1, 0.8], (40, 1))
    verdict = case(quality, [1, 2, 3], {"router": 1}).gate()["routers"]["router"]
    assert verdict["mixture"] == pytest.approx({"m0": 0.5, "m2": 0.5})
    assert verdict["quality_gap"] == pytest.approx(0.1 - 0.5)


def test_a_router_cheaper_than_every_candidate_is_compared_with_the_cheapest() -> None:
    cost = np.tile([[1, 3], [4, 1]], (20, 1))  # 2.5 and 2 on average
    verdict = case(np.tile([0.9, 0.4], (40, 1)), cost, {"router": np.tile([0, 1], 20)}).gate()["routers"]["router"]
    assert verdict["mean_cost_usd"] == pytest.approx(1)
    assert verdict["mixture"] == {"m1": 1}
    assert verdict["quality_gap"] == pytest.approx(0.65 - 0.4)


def test_the_way_to_the_oracle_is_measured_in_reward() -> None:
    quality = np.tile([[1, 0], [0, 1]], (50, 1))
    half = np.tile([0, 1, 0, 0], 25)  # right three times in four, where constant choices are right twice and the oracle always
    gate = case(quality, [1, 1], {"router": half, "oracle": np.tile([0, 1], 50)}).gate()
    verdict = gate["routers"]["router"]
    assert verdict["oracle_share"] == pytest.approx(0.5)
    low, high = verdict["ci95"]["oracle_share"]
    assert low < 0.5 < high
    assert "it closes 50%" in gate["why"]


def test_a_hair_behind_the_best_single_candidate_is_no_negative_zero() -> None:
    picks = np.where(np.arange(1000) < 3, 1, 0)  # loses rows 0 and 2, gains row 1
    verdict = case(np.tile([[1, 0], [0, 1]], (500, 1)), [1, 1], {"router": picks, "oracle": np.tile([0, 1], 500)}).gate()
    assert verdict["routers"]["router"]["oracle_share"] == pytest.approx(-1 / 500)
    assert "it closes 0% (" in verdict["why"]
    assert "-0%" not in verdict["why"]


def test_where_one_candidate_is_always_best_nothing_is_left_to_gain() -> None:
    gate = case(np.tile([0, 1], (40, 1)), [1, 1], {"router": 1, "oracle": 1}).gate()
    assert gate["routers"]["router"]["oracle_share"] is None
    assert gate["why"].endswith("the oracle's reward is no better than the best single candidate's, so nothing is left to gain")


def test_without_an_oracle_the_way_to_it_is_null(good: Case) -> None:
    gate = case(good.comparison.quality, [1, 10], {"router": good.comparison.chosen[0, 0]}).gate()
    assert gate["routers"]["router"]["oracle_share"] is None
    assert "is not known" in gate["why"]
    assert gate["passed"] is True


def test_a_handful_of_queries_is_no_evidence(good: Case) -> None:
    few = case(good.comparison.quality[:28], [1, 10], {"router": good.comparison.chosen[0, 0, :28]}).gate()
    assert few["passed"] is False
    assert "at least 30 independent queries or streams to tell, and there are 28" in few["why"]


def test_a_reward_that_is_not_known_is_not_clear(good: Case) -> None:
    class Unsure(LinearReward):
        def scalar(self, outcomes: Outcomes, preferences: Any) -> Any:
            return np.full(outcomes.cost_usd.shape, np.nan)

    weighed = attrs.evolve(good.comparison, preferences=np.array([[0.8, 0.0, 0.2]]))
    gate = Case(weighed, Unsure()).gate()
    assert gate["passed"] is False
    assert gate["routers"]["router"]["ci95"]["reward_gap"] is None
    assert "compared with the best single candidate, its reward is not known" in gate["why"]


def test_a_pool_of_one_leaves_nothing_to_pass_with() -> None:
    gate = case(np.ones((40, 1)), [2], {"router": 0}).gate()
    assert gate["passed"] is False
    assert gate["routers"]["router"]["quality_gap"] == 0


def test_the_same_seed_gives_the_same_verdict(good: Case) -> None:
    assert good.gate() == good.gate()


def test_one_that_mixes_constants_at_random_passes_as_seldom_as_the_interval_says() -> None:
    rng = np.random.default_rng(0)
    trials, rows, passes = 200, 100, 0
    for _ in range(trials):
        quality = rng.random((rows, 2)) < (0.4, 0.8)
        gate = case(quality, rng.lognormal((0.0, 2.0), 0.5, (rows, 2)), {"router": rng.integers(2, size=rows)}).gate()
        passes += gate["passed"]
    assert 0 < passes / trials < 0.05  # one in forty, give or take


@pytest.mark.parametrize("gap", ["quality_gap", "reward_gap"])
def test_the_constant_choices_compared_with_are_those_of_the_data_on_every_resample(gap: str) -> None:
    rng = np.random.default_rng(0)
    trials, rows, held = 150, 100, 0
    for _ in range(trials):  # nine candidates with a quality of 0.5, and a router that takes an answer with 0.6
        quality = rng.random((rows, 10)) < (*[0.5] * 9, 0.6)
        comparison = case(quality, 1, {"router": 9})
        constants = ConstantOutcomes.of(comparison.comparison, comparison.reward)
        nine = ConstantOutcomes(constants.names[:9], constants.quality[:, :9], constants.cost_usd[:, :9], constants.reward[:, :9])
        low, high = promotion(comparison.comparison, nine, comparison.reward, "router", resamples=200)["routers"]["router"]["ci95"][gap]
        held += low <= 0.1 <= high
    assert held / trials > 0.8  # 0.86; with the best candidate of each resample 0.6


def test_streams_are_resampled_whole_and_their_constants_play(good: Case) -> None:
    comparison = good.comparison
    played = attrs.evolve(
        comparison,
        routers=comparison.candidates,
        quality=comparison.quality.T[:, None],
        cost_usd=comparison.cost_usd.T[:, None],
        latency_ms=comparison.latency_ms.T[:, None],
    )
    place = np.arange(200), comparison.chosen[:, 0]
    realised = {name: getattr(comparison, name)[place][:, None] for name in ("quality", "cost_usd", "latency_ms")}
    streams = attrs.evolve(comparison, **realised)
    constants = ConstantOutcomes.of(played, good.reward)
    assert promotion(streams, constants, good.reward, "router") == good.gate()
    together = attrs.evolve(streams, stream=np.arange(200) % 40)  # 40 streams of five queries that differ in luck
    wide, narrow = (promotion(each, constants, good.reward, "router")["routers"]["router"]["ci95"]["quality_gap"] for each in (together, streams))
    assert wide != narrow
    few = attrs.evolve(streams, stream=np.arange(200) % 20)
    assert "at least 30" in promotion(few, constants, good.reward, "router")["why"]


def test_constant_routers_take_their_candidate_or_the_first_that_is_allowed(table: Any) -> None:
    comparison = table.compare(constant_routers(table.services))
    assert comparison.routers.tolist() == ["m0", "m1"]
    assert [np.unique(chosen).tolist() for chosen in comparison.chosen] == [[0], [1]]
    mask = table.request.mask.copy()
    mask[0, 1] = False
    masked = attrs.evolve(table, request=attrs.evolve(table.request, mask=mask))
    assert masked.compare(constant_routers(table.services)).chosen[1, 0].tolist() == [0, 1, 1, 1]
