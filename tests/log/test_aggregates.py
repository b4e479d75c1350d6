"""Aggregates are the sums of the outcomes that a log gives, by day, tenant and chosen candidate."""

from __future__ import annotations

import math

import attrs
import numpy as np
import pytest

from aamc_sdk.log import MemoryStore, StoreOptions, aggregate_from, aggregate_texts, aggregates_of, columns_of, combined
from aamc_sdk.testing import POOL, make_dataset, make_request
from aamc_sdk.types import Aggregate, Attempt, Decision, Feedback, Preference, Records

DAY = 24 * 3600


@pytest.fixture
def store():
    """Return a log of six decisions on two days, with attempts, feedback in two revisions, and unknown propensities."""
    store = MemoryStore("memory:", StoreOptions())
    chosen, other = POOL.names[0], POOL.names[1]
    for n, (candidate, propensity) in enumerate([(chosen, 0.5), (chosen, 0.25), (other, math.nan), (chosen, math.nan), (other, 1.0), (chosen, 0.5)]):
        (record,) = Records([Decision(f"d{n}", candidate, propensity, Preference(), time=DAY * (1 + n // 4) + 5.0)], make_request(make_dataset(1)))
        store.add_decisions([attrs.evolve(record, query=attrs.evolve(record.query, tenant="acme" if n == 5 else None))])
    store.add_feedback([(Feedback(decision_id="d0", quality=0.0), Attempt("d0", cost_usd=0.5, latency_ms=10.0))])
    store.add_feedback([(Feedback(decision_id="d0", quality=1.0, revision=1), None)])
    store.add_feedback([(Feedback(decision_id=f"d{n}", quality=0.5), None) for n in (1, 3, 5)])
    store.add_attempts([Attempt("d2", error="gone"), Attempt("d5", latency_ms=30.0)])
    return store


def test_sums_are_those_of_the_outcomes_and_revisions_count_once(store):
    found = {(each.day, each.tenant, each.candidate): each for each in aggregates_of(store.batch(0, 1000).rows)}
    first = found["1970-01-02", None, POOL.names[0]]
    assert first == Aggregate("1970-01-02", None, POOL.names[0], 3, 3, 2.0, 2 + 4.0, 2 + 2.0, 0.5, 1, 10.0, 1)
    assert found["1970-01-02", None, POOL.names[1]] == Aggregate("1970-01-02", None, POOL.names[1], 1, 1, costs=1, failed=1)  # of quality and cost 0
    assert found["1970-01-03", "acme", POOL.names[0]].latency_ms == 30.0
    assert len(found) == 4
    outcomes = store.outcomes()
    assert sum(each.decisions for each in found.values()) == len(outcomes)
    assert sum(each.quality for each in found.values()) == np.nansum(outcomes.quality)


def test_decisions_need_columns_only(store):
    rows = store.batch(0, 1000).rows
    without = [attrs.evolve(row, content="", columns=columns_of(row)) if row.kind == "decision" else row for row in rows]
    assert aggregates_of(without) == aggregates_of(rows)


def test_aggregates_add_up_and_come_back_from_json(store):
    rows = store.batch(0, 1000).rows
    parts = [aggregates_of(row for row in rows if row.decision_id in names) for names in (("d0", "d1"), ("d2", "d3", "d4", "d5"))]
    read = [aggregate_from(text) for part in parts for text in aggregate_texts({}, part).values()]
    assert combined(read) == aggregates_of(rows)


def test_a_time_beyond_the_calendar_has_a_day(store):
    row = attrs.evolve(store.batch(0, 1).rows[0], time=1e15)
    assert [each.day for each in aggregates_of([row])] == ["9999-12-31"]
