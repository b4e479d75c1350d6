"""Half-life and alarm: what a bandit does when a provider changes a model."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from aamc_bandit.thompson import Thompson
from aamc_bandit.thompson.beta_evidence import GLOBAL_ENTITY, BetaEvidence, CandidateEvidence
from aamc_bandit.thompson.drift_alarm import LOG_ODDS, divergence, effective_number, find_drift
from aamc_bandit.thompson.evidence_keys import EvidenceKeys
from aamc_bandit.thompson.options import HALF_LIFE, HALF_LIFE_EPSILON_GREEDY, EpsilonGreedyOptions, ThompsonOptions

from aamc_sdk import MetaController
from aamc_sdk.errors import CheckpointError, ConfigError
from aamc_sdk.types import Feedback, Pool

KEYS = EvidenceKeys("code")


def add(evidence: BetaEvidence, quality: float, times: int = 1, weight: float = 1.0) -> None:
    for _ in range(times):
        evidence.add(KEYS, [("a", quality)], weight, implicit=False, time=0.0)


def known(evidence: BetaEvidence) -> CandidateEvidence:
    return evidence.entities("category")["code"].candidates["a"]


def test_evidence_has_a_half_life_by_default_but_not_with_a_window() -> None:
    assert ThompsonOptions().kept ** HALF_LIFE == pytest.approx(0.5)
    assert EpsilonGreedyOptions().kept ** HALF_LIFE_EPSILON_GREEDY == pytest.approx(0.5)
    assert ThompsonOptions(window=50).kept == ThompsonOptions(discount=1.0).kept == 1
    assert ThompsonOptions(discount=0.9).kept == 0.9
    with pytest.raises(ConfigError, match="exclude each other"):
        ThompsonOptions(discount=0.9, window=50)


def test_a_regression_of_a_provider_needs_fewer_losses_than_there_were_wins(pool: Pool) -> None:
    def losses_until_another_leads(**options: float) -> int:
        with MetaController.build(router={"name": "thompson", **options}, pool=pool, store="memory:") as controller:
            router = controller.router
            assert isinstance(router, Thompson)
            for name, quality, times in (("small", 1.0, 1000), ("large", 0.6, 100)):
                for _ in range(times):
                    router.evidence.add(EvidenceKeys(), [(name, quality)], 1.0, implicit=False, time=0.0)
            for losses in range(1, 1000):
                router.evidence.add(EvidenceKeys(), [("small", 0.0)], 1.0, implicit=False, time=0.0)
                (small, large) = (router.belief(EvidenceKeys(), pool)[0].mean[pool.index(name)] for name in ("small", "large"))
                if small < large:
                    return losses
        return 1000

    ageing, keeping = losses_until_another_leads(), losses_until_another_leads(discount=1.0)
    assert keeping > 600
    assert ageing < keeping / 1.5


def test_training_rows_sorted_by_task_raise_no_alarm() -> None:
    evidence = BetaEvidence(discount=0.999)
    for quality in (*[1.0] * 300, *[0.0] * 300):
        evidence.add(KEYS, [("a", quality)], 1.0, implicit=False, time=0.0, ageing=False)
    assert find_drift("a", "code", known(evidence)) is None
    for number in range(60):
        add(evidence, float(number % 2))
        assert find_drift("a", "code", known(evidence)) is None
    add(evidence, 0.0, times=60)
    assert find_drift("a", "code", known(evidence)) is not None


def test_training_rows_have_no_age() -> None:
    evidence = BetaEvidence(discount=0.5)
    for quality in (1.0, 1.0, 0.0):
        evidence.add(KEYS, [("a", quality)], 1.0, implicit=False, time=0.0, ageing=False)
    assert evidence.table("global", GLOBAL_ENTITY, ["a"]).tolist() == [[2, 1, 3, 2]]
    add(evidence, 1.0)
    assert evidence.table("global", GLOBAL_ENTITY, ["a"])[0, :2].tolist() == [2, 0.5]


def test_a_fall_and_a_rise_leave_the_interval_and_chance_does_not() -> None:
    for before, after in ((0.9, 0.3), (0.3, 0.9)):
        rng, evidence = np.random.default_rng(7), BetaEvidence()
        for outcome in rng.random(2000) < before:
            add(evidence, float(outcome))
            assert find_drift("a", "code", known(evidence)) is None
        for outcome in rng.random(60) < after:
            add(evidence, float(outcome))
        drift = find_drift("a", "code", known(evidence))
        assert drift is not None
        assert drift.low < before < drift.high
        assert not drift.low <= drift.recent <= drift.high


@pytest.mark.parametrize("discount", [0.9986, 0.9965])
def test_a_fall_of_a_candidate_with_a_tenth_of_the_feedback_raises_the_alarm(discount: float) -> None:
    evidence, others = BetaEvidence(discount=discount), [("b", 0.9)]
    for quality, times in ((0.9, 300), (0.0, 15)):
        for _ in range(times):
            add(evidence, quality)
            for _ in range(9):
                evidence.add(KEYS, others, 1.0, implicit=False, time=0.0)
    assert find_drift("a", "code", known(evidence)) is not None


def test_a_window_of_the_evidence_does_not_limit_the_alarm() -> None:
    evidence = BetaEvidence(window=20)
    add(evidence, 0.9, 300)
    add(evidence, 0.0, 15)
    assert find_drift("a", "code", known(evidence)) is not None


def test_hints_of_low_weight_between_the_ratings_raise_no_alarm() -> None:
    rng, evidence = np.random.default_rng(0), BetaEvidence()
    for is_rated in rng.random(20_000) < 0.5:
        add(evidence, 0.9 if is_rated else 0.0, weight=1.0 if is_rated else 0.25)
        assert find_drift("a", "code", known(evidence)) is None


def test_feedback_of_low_weight_alone_shows_a_fall() -> None:
    evidence = BetaEvidence()
    add(evidence, 1.0, 400, weight=0.25)
    add(evidence, 0.0, 40, weight=0.25)
    assert find_drift("a", "code", known(evidence)) is not None


def test_a_few_outcomes_raise_no_alarm() -> None:
    evidence = BetaEvidence()
    add(evidence, 1.0, 25)
    add(evidence, 0.0, 25)
    assert find_drift("a", "code", known(evidence)) is None


def test_the_bound_by_hand() -> None:
    assert divergence(0.5, 0.25) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    assert divergence(0.0, 0.25) == pytest.approx(-math.log(0.75))
    assert divergence(0.3, 0.3) == 0
    evidence = BetaEvidence()
    add(evidence, 1.0)
    assert effective_number(known(evidence)) == pytest.approx(1.0)
    add(evidence, 1.0, weight=0.25)
    assert effective_number(known(evidence)) == pytest.approx((0.25 + 0.98) ** 2 / (0.25**2 + 0.98**2))
    add(evidence, 1.0, 2000, weight=0.25)
    assert effective_number(known(evidence)) == pytest.approx(99.0)


def test_the_ends_of_the_interval_are_where_the_alarm_begins() -> None:
    evidence = BetaEvidence()
    add(evidence, 0.9, 400)
    add(evidence, 0.1, 60)
    drift = find_drift("a", "code", known(evidence))
    assert drift is not None
    entry = known(evidence)
    earlier = entry.past_weight - entry.recent_weight
    mean = (entry.past_quality - entry.recent_quality + 1) / (earlier + 2)
    number = 1 / (1 / effective_number(entry) + 1 / earlier)
    assert [number * divergence(end, mean) for end in (drift.low, drift.high)] == pytest.approx([LOG_ODDS] * 2, rel=1e-6)


def test_a_router_says_once_that_a_candidate_drifts_and_when_it_is_over(pool: Pool, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), MetaController.build(router="thompson", pool=pool, store="memory:") as controller:

        def judge(quality: float, times: int) -> None:
            made = controller.route_batch(["What?"] * times)
            controller.feedback_batch([Feedback(decision_id=decision.id, candidate="small", quality=quality) for decision in made])
            controller.learner.flush()

        judge(1.0, 300)
        assert controller.router.drifting == {}
        judge(0.0, 60)
        ((key, drift),) = controller.router.drifting.items()
        assert (key, drift.candidate) == (("", "small"), "small")
        assert caplog.text.count("outside its interval") == 1
        judge(1.0, 60)
    assert "back in its interval" in caplog.text


def test_a_loaded_router_knows_which_candidates_drift(pool: Pool, tmp_path: Path) -> None:
    made = [MetaController.build(router="thompson", pool=pool, store="memory:") for _ in range(2)]
    with made[0] as controller, made[1] as other:
        decisions = controller.route_batch(["What?"] * 360)
        controller.feedback_batch([Feedback(decision_id=each.id, candidate="small", quality=float(n < 300)) for n, each in enumerate(decisions)])
        controller.learner.flush()
        controller.router.save(tmp_path)
        other.router.load(tmp_path)
        assert list(other.router.drifting) == [("", "small")]
        assert other.router.drifting == controller.router.drifting
        (tmp_path / "drifting.json").write_text("7")
        with pytest.raises(CheckpointError, match="the candidates that drift"):
            other.router.load(tmp_path)


@pytest.mark.parametrize("lacking", [2, 5])  # two columns are younger than the recent quality, which version 0.1 lacks too
def test_evidence_without_the_columns_of_the_alarm_is_read(lacking: int) -> None:
    evidence, earlier = BetaEvidence(), BetaEvidence()
    add(evidence, 1.0, 3)
    state = evidence.to_json()
    state["columns"] = state["columns"][:-lacking]
    for entities in state["levels"].values():
        for entity in entities.values():
            entity["cells"] = {name: cell[:-lacking] for name, cell in entity["cells"].items()}
    earlier.restore(state)
    unset = {"recent_quality": 0.0, "recent_weight": 0.0, "recent_squares": 0.0} if lacking == 5 else {}
    assert known(earlier) == msgspec.structs.replace(known(evidence), **unset, past_quality=3.0, past_weight=3.0)
