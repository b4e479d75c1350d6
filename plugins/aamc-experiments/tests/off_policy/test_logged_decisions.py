"""Which decisions of a log count, and their outcomes."""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np
import pytest
from aamc_experiments.off_policy.logged_decisions import LoggedDecisions, logged_request, read_log

from aamc_sdk.log import MemoryStore, StoreOptions
from aamc_sdk.routing import build_request
from aamc_sdk.testing import POOL, estimates_of, make_dataset, make_request
from aamc_sdk.types import Attempt, Decision, Feedback, PoolState, Preference, Record, Records

TINY, MEDIUM, CODE, LARGE = POOL.names


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore("memory:", StoreOptions())


def decide(store: MemoryStore, name: str, **fields: Any) -> None:
    """Log a decision for ``SLM-Tiny``, drawn from a quarter and three quarters unless told otherwise."""
    usual = {"candidate": TINY, "propensity": 0.25, "preference": Preference(), "probabilities": {TINY: 0.25, LARGE: 0.75}}
    request = make_request(make_dataset(1))
    store.add_decisions(list(Records([Decision(id=name, **{**usual, **fields})], request)))


def judge(store: MemoryStore, name: str, quality: float | None = 1.0, attempt: Attempt | None = None, **fields: Any) -> None:
    store.add_feedback([(Feedback(decision_id=name, quality=quality, **fields), attempt)])


def quality_of(store: MemoryStore) -> float:
    return float(read_log(store).quality[0])


def test_a_judged_decision_counts_with_its_probabilities(store) -> None:
    decide(store, "a")
    judge(store, "a", 0.7)
    log = read_log(store)
    assert (len(log), log.total, log.candidates) == (1, 1, POOL.names)
    assert log.probabilities.tolist() == [[0.25, 0, 0, 0.75]]
    assert log.chosen.tolist() == [0]
    assert log.quality.tolist() == [0.7]
    assert log.expected.known_quality.shape == (1, 4)


def test_a_decision_without_a_draw_is_certain(store) -> None:
    decide(store, "a", propensity=1.0, probabilities={})
    judge(store, "a")
    assert read_log(store).probabilities.tolist() == [[1.0, 0, 0, 0]]


def test_what_does_not_count_is_counted_by_reason(store) -> None:
    for name in ("unknown", "fallback", "compared", "silent", "counts"):
        decide(store, name, **({"propensity": math.nan} if name == "unknown" else {}))
    judge(store, "unknown")
    store.add_attempts([Attempt("fallback", 1, LARGE, 0.1)])
    judge(store, "fallback")
    judge(store, "compared", None, over=LARGE)
    judge(store, "counts")
    log = read_log(store)
    assert (log.total, len(log)) == (5, 1)
    assert log.left_out == {"propensity_unknown": 1, "fallback": 1, "only_compared": 1, "not_judged": 1}


def test_a_failed_call_counts_with_the_quality_of_failures(store) -> None:
    for name in ("fallback", "answered later", "judged"):
        decide(store, name)
        store.add_attempts([Attempt(name, 0, TINY, error="timeout")])
    store.add_attempts([Attempt("fallback", 1, LARGE, 0.1), Attempt("answered later", 1, TINY, 0.1)])
    judge(store, "fallback", 1.0)  # on the candidate that served
    judge(store, "judged", 0.75)
    log = read_log(store)
    assert (log.ids, log.quality.tolist(), log.failed) == (["fallback", "judged"], [0.0, 0.75], 2)
    assert log.left_out["not_judged"] == 1
    assert read_log(store, failure_quality=0.5).quality.tolist() == [0.5, 0.75]
    ignored = read_log(store, failure_quality=None)
    assert (ignored.ids, ignored.left_out["fallback"]) == (["judged"], 1)


def test_a_failed_call_without_a_fallback_still_belongs_to_the_chosen_one(store) -> None:
    decide(store, "a")
    store.add_attempts([Attempt("a", 0, TINY, error="timeout")])
    judge(store, "a", 0.0)
    assert quality_of(store) == 0.0


def test_explicit_feedback_comes_before_implicit(store) -> None:
    decide(store, "a")
    judge(store, "a", 0.0, source="implicit/retry")
    assert quality_of(store) == 0.0
    judge(store, "a", 1.0)
    assert quality_of(store) == 1.0


def test_several_judgements_count_by_weight_times_confidence(store) -> None:
    decide(store, "a")
    judge(store, "a", 1.0, source="judge", weight=3.0, confidence=0.5)
    judge(store, "a", 0.0, source="user", confidence=0.5)
    assert quality_of(store) == pytest.approx(0.75)


def test_a_judgement_that_counts_for_nothing_is_none(store) -> None:
    decide(store, "a")
    judge(store, "a", 1.0, confidence=0.0)
    assert read_log(store).left_out["not_judged"] == 1


def test_feedback_on_another_candidate_is_not_the_chosen_ones(store) -> None:
    decide(store, "a")
    judge(store, "a", 1.0, candidate=LARGE)
    assert read_log(store).left_out["not_judged"] == 1


def test_cost_is_measured_or_what_was_expected(store) -> None:
    for name in "ab":
        decide(store, name)
        judge(store, name, attempt=Attempt(name, 0, TINY, cost_usd=0.5) if name == "a" else None)
    log = read_log(store)
    assert log.cost_usd.tolist() == [0.5, log.expected.cost_usd[1, 0]]
    assert log.measured == {"cost_usd": 1, "latency_ms": 0}
    assert log.latency_ms.tolist() == log.expected.latency_ms[:, 0].tolist()


def test_candidates_that_a_decision_did_not_have_are_impossible_and_unknown(store) -> None:
    decide(store, "a")
    judge(store, "a")
    request = make_request(make_dataset(1), POOL.subset([LARGE]))
    alone: Record = Records([Decision("b", LARGE, 1.0, Preference())], request)[0]
    store.add_decisions([attrs.evolve(alone, candidates=("Newcomer",), decision=Decision("b", "Newcomer", 1.0, Preference()))])
    judge(store, "b")
    log: LoggedDecisions = read_log(store)
    assert log.candidates == (*POOL.names, "Newcomer")
    assert log.places(["Newcomer", TINY]).tolist() == [4, 0]
    assert log.probabilities[:, 4].tolist() == [0.0, 1.0]
    assert np.isnan(log.expected.cost_usd).tolist() == [[False] * 4 + [True], [True] * 4 + [False]]


def test_feedback_hours_later_finds_its_decision(store) -> None:
    for number in range(1200):
        decide(store, str(number))
    for number in range(1200):
        judge(store, str(number), number % 2)
    log = read_log(store)
    assert len(log) == 1200
    assert log.quality.mean() == 0.5


def test_the_latest_revision_of_feedback_counts_alone(store) -> None:
    decide(store, "a")
    judge(store, "a", 0.0)
    judge(store, "a", 1.0, revision=1)
    assert quality_of(store) == 1.0


def test_a_cancelled_call_is_no_answer(store) -> None:
    decide(store, "a")
    store.add_attempts([Attempt("a", candidate=TINY, cost_usd=0.5), Attempt("a", candidate=LARGE, status="cancelled", cost_usd=9.0)])
    judge(store, "a")
    assert read_log(store).cost_usd.tolist() == [0.5]


def test_a_router_that_takes_the_maximum_without_knowing_its_propensity_is_left_out(store) -> None:
    decide(store, "a", propensity=math.nan, probabilities={})
    judge(store, "a")
    log = read_log(store)
    assert (len(log), log.left_out["propensity_unknown"]) == (0, 1)


NOT_REBUILT = {
    "budget_usd": "the mask excludes the candidates above it",
    "quality_floor": "the mask excludes the candidates below it",
    "hindsight": "for privileged routers only",
    "embed": "a function",
}


def test_a_logged_request_is_the_one_that_the_router_scored() -> None:
    store, dataset = MemoryStore("memory:", StoreOptions(store_text=True)), make_dataset(6)
    figures = [{name: float(n + m) for m, name in enumerate(POOL.names)} for n in range(3)]
    asked = build_request(
        dataset.queries,
        POOL,
        np.tile([0.5, 0.25, 0.25], (6, 1)),
        estimates=estimates_of(dataset),
        quality=np.linspace(0, 1, 24).reshape(6, 4),
        state=PoolState(unavailable=frozenset({CODE}), wait_ms=figures[0], in_flight=figures[1], pressure=figures[2]),
        preference_given=False,
    )
    preference = Preference(0.5, 0.25, 0.25)
    store.add_decisions(Records([Decision(id=str(row), candidate=LARGE, propensity=1.0, preference=preference) for row in range(6)], asked))
    for row in range(6):
        judge(store, str(row))
    found, seen = (
        attrs.asdict(request, filter=lambda field, value: field.name not in NOT_REBUILT)
        for request in (logged_request(read_log(store), np.arange(6), POOL), asked)
    )
    assert all(value is not None for value in seen.values())
    np.testing.assert_equal(found, seen)
