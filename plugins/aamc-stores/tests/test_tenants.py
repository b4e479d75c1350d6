"""Tenants in logs on servers: one is exported and forgotten, and exports are remembered."""

from __future__ import annotations

import math
from collections.abc import Callable

import attrs
from aamc_experiments.off_policy import read_outcome_columns

from aamc_sdk.interfaces import Store
from aamc_sdk.log import ExportedFile, RowStore, Selection
from aamc_sdk.testing import make_dataset, make_request
from aamc_sdk.types import Decision, Feedback, Preference, Query, Records


def fill(store: Store, decisions: int = 30) -> None:
    """Log decisions of three users in two tenants, with feedback."""
    queries = [Query("a secret", user=f"u{n % 3}", tenant=f"t{n % 2}") for n in range(decisions)]
    request = attrs.evolve(make_request(make_dataset(decisions)), queries=queries)
    made = [Decision(f"d{n}", request.pool.names[0], math.nan, Preference(), time=float(n + 1)) for n in range(decisions)]
    store.add_decisions(Records(made, request))
    store.add_feedback([(Feedback(decision_id=each.id, quality=0.5), None) for each in made])


def test_a_tenant_is_exported_and_forgotten_alone(log: Callable[..., Store], monkeypatch) -> None:
    store = log(store_text=True)
    assert isinstance(store, RowStore)
    fill(store)
    monkeypatch.setattr("aamc_sdk.log.row_store.BATCH_ENTRIES", 4)  # several transactions
    rows = [row for _, row in Selection("t1").rows(store)]
    assert ([row.id for row in rows[:15]], len(rows)) == ([f"d{n}" for n in range(1, 30, 2)], 30)
    assert store.forget("u1", "t1") == 5
    assert store.forgotten(["u1", "t1\0u1", "t0\0u1"]) == {"t1\0u1"}
    left = [(record.query.tenant, record.query.user) for record in store.experience().records]
    assert (left.count(("t1", None)), left.count(("t0", "u1"))) == (5, 5)
    assert store.forget(None, "t1") == 15
    found = {(record.query.tenant, record.query.user, record.query.text) for record in store.experience().records}
    assert found == {("t0", f"u{n}", "a secret") for n in range(3)} | {(None, None, "")}
    assert read_outcome_columns(store, ["tenant"])["tenant"].count(None) == 15
    assert store.experience().epoch == 2
    assert store.forget("u2") == 5
    late = attrs.evolve(store.record("d0"), query=Query("late", user="new", tenant="t1"), fingerprint="")
    store.add_decisions([attrs.evolve(late, decision=attrs.evolve(late.decision, id="late"))])
    assert store.record("late").query.tenant is None  # it comes late, so it is erased as it is written


def test_exports_are_remembered(log: Callable[..., Store]) -> None:
    store = log()
    assert isinstance(store, RowStore)
    assert list(store.exports()) == []
    for _ in range(2):
        store.note_export(ExportedFile("/folder/file.parquet", "parquet"))
    assert list(store.exports()) == [ExportedFile("/folder/file.parquet", "parquet")]
    store.discard_export(ExportedFile("/folder/file.parquet", "parquet"))
    assert list(store.exports()) == []
