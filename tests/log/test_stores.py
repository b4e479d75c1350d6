"""The log's rules, which hold for every store that the core ships."""

from __future__ import annotations

import itertools
import math
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aamc_sdk.errors import ConfigError, DataError, ForkedError, NameLengthError, StoreError, UnknownComponentError, UnknownDecisionError
from aamc_sdk.interfaces import Store
from aamc_sdk.log import Batch, Erasure, RowStore, addition_of, feedback_addition, line_of, open_store, row_store
from aamc_sdk.log.rows.decision_row import decision_row
from aamc_sdk.log.rows.row import feedback_row
from aamc_sdk.plugins import Plugins
from aamc_sdk.types import Attempt, Decision, Estimates, Feedback, Outcomes, Preference, Query, Record, Snapshot, Turn

PLUGINS = Plugins()


def asked(name: str, *, text: str | None = None, preference: Preference | None = None, **fields: Any) -> Record:
    """Return a decision on a request that differs from that of ``record(name)``."""
    plain = record(name)
    limits = {limit: fields.pop(limit) for limit in ("budget_usd", "quality_floor") if limit in fields}
    query = attrs.evolve(plain.query, **fields, **({} if text is None else {"text": text}))
    decision = plain.decision if preference is None else attrs.evolve(plain.decision, preference=preference)
    return attrs.evolve(plain, query=query, decision=decision, **limits)


def record(name: str, *, fingerprint: str = "one", notes: object = None) -> Record:
    """Return a decision between a, b and c for b."""
    return Record(
        decision=Decision(name, "b", 0.25, Preference(0.5, 0.25, 0.25), {"a": 0.75, "b": 0.25}, "tiny", 12.5, {} if notes is None else {"x": notes}),
        query=Query("What is it?", user="ann", needs={"tools", "code"}, output_tokens=9),
        estimates=Estimates(
            np.array([0.25]), np.array([[0.75, 0.25]]), ("code", "chat"), np.array([math.nan]), np.array([[0.5, -1.5]], dtype=np.float32), fingerprint
        ),
        candidates=("a", "b", "c"),
        expected=Outcomes(None, np.array([[0.1, 0.2, math.nan]]), np.array([[1.0, 2.0, 3.0]]), output_tokens=np.array([[20.0, 30.0, 40.0]])),
        wait_ms=np.array([[0.0, 5.0, 0.0]]),
        masked_why={"c": "over budget"},
    )


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = open_store("memory:" if request.param == "memory" else f"sqlite:{tmp_path / 'log.db'}", PLUGINS)
    yield opened
    opened.close()


def ids(store: Store, after: int = 0, limit: int = 1000) -> tuple[list[str], list[str]]:
    found = store.experience(after, limit)
    return [decision.id for decision in found.decisions], [feedback.id for feedback in found.feedback]


def called(store: Store) -> list[tuple[int, str, float]]:
    return [(attempt.n, attempt.candidate, attempt.cost_usd) for attempt in store.experience().attempts]


def test_a_whole_log_is_read_in_parts_whose_prompts_fit_in_memory(store: RowStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt may have 100,000 characters."""
    read, parts = store.batch, list[int]()

    def batch(after: int, limit: int) -> Batch:
        found = read(after, limit)
        parts.append(len(found.rows))
        return found

    monkeypatch.setattr(store, "batch", batch)
    store.add([(decision_row(record(f"d{n}"), store_text=False),) for n in range(2100)])
    assert sum(1 for _ in store.placed()) == 2100
    assert parts == [2000, 100, 0]


def test_a_record_reads_as_it_was_logged_but_for_the_prompt(store: Store) -> None:
    given = record("d")
    store.add_decisions([given])
    found = store.record("d")
    assert found.decision == given.decision
    assert found.query == attrs.evolve(given.query, text="", prompt_tokens=3)  # 11 characters at four a token
    assert (found.candidates, found.masked_why) == (given.candidates, given.masked_why)
    assert found.expected.quality is None
    np.testing.assert_array_equal(found.expected.cost_usd, given.expected.cost_usd)
    np.testing.assert_array_equal(found.expected.output_tokens, given.expected.output_tokens)
    np.testing.assert_array_equal(found.wait_ms, given.wait_ms)
    np.testing.assert_array_equal(found.estimates.categories, given.estimates.categories)
    np.testing.assert_array_equal(found.estimates.tool_use, given.estimates.tool_use)
    assert found.estimates.embedding is not None
    assert found.estimates.embedding.dtype == np.float32
    np.testing.assert_array_equal(found.estimates.embedding, [[0.5, -1.5]])


@pytest.mark.parametrize("scheme", ["memory", "sqlite"])
def test_prompts_are_kept_where_the_option_says_so(scheme: str, tmp_path: Path) -> None:
    store = open_store("memory:" if scheme == "memory" else f"{scheme}:{tmp_path / 'log.db'}", PLUGINS, {"store_text": True})
    store.add_decisions([record("d")])
    assert store.record("d").query == record("d").query
    store.close()


def test_every_field_of_feedback_and_of_expected_outcomes_is_kept() -> None:
    feedback = feedback_row(Feedback(decision_id="d", quality=1.0, revision=1))
    assert {*feedback.fields, "time"} == {field.name for field in attrs.fields(Feedback)}
    assert decision_row(record("d"), store_text=False).fields["expected"].keys() == {field.name for field in attrs.fields(Outcomes)}


def test_an_unknown_propensity_reads_as_unknown(store: Store) -> None:
    given = record("d")
    store.add_decisions([attrs.evolve(given, decision=attrs.evolve(given.decision, propensity=math.nan))])
    assert math.isnan(store.record("d").decision.propensity)


def test_an_unknown_decision_is_an_error_that_names_it(store: Store) -> None:
    with pytest.raises(UnknownDecisionError, match="'d'"):
        store.record("d")


def test_the_same_feedback_counts_once_and_other_content_is_refused(store: Store) -> None:
    store.add_decisions([record("d")])
    assert store.add_feedback([(Feedback(decision_id="d", quality=1.0, time=1.0), None)])[0]
    assert not store.add_feedback([(Feedback(decision_id="d", quality=1.0, time=2.0), None)])[0]
    with pytest.raises(StoreError, match=r"d/explicit.*other content"):
        store.add_feedback([(Feedback(decision_id="d", quality=0.5), None)])
    assert store.add_feedback([(Feedback(decision_id="d", quality=0.5, source="judge"), None)])[0]
    assert ids(store) == (["d"], ["d/explicit", "d/judge"])
    assert [feedback.quality for feedback in store.experience().feedback] == [1.0, 0.5]


def test_the_same_attempt_counts_once_and_other_content_is_refused(store: Store) -> None:
    store.add_decisions([record("d")])
    attempt = Attempt("d", 0, "b", cost_usd=0.5)
    store.add_attempts([attempt])
    store.add_attempts([attempt])
    assert [(a.decision_id, a.n, a.candidate, a.cost_usd) for a in store.experience().attempts] == [("d", 0, "b", 0.5)]
    assert math.isnan(store.experience().attempts[0].latency_ms)
    with pytest.raises(StoreError, match=r"d/0.*other content"):
        store.add_attempts([attrs.evolve(attempt, cost_usd=0.25)])


def test_a_batch_of_decisions_is_logged_whole_or_not_at_all(store: Store) -> None:
    store.add_decisions([record("old")])
    with pytest.raises(StoreError, match="'old' is in the log with other content"):
        store.add_decisions([record("new"), asked("old", text="Another question")])
    with pytest.raises(StoreError, match="same id, decision 'twice'"):
        store.add_decisions([record("twice"), record("twice")])
    assert ids(store) == (["old"], [])


def test_notes_that_json_cannot_hold_are_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="notes"):
        store.add_decisions([record("d", notes=object())])


def test_feedback_and_its_call_are_logged_both_or_none(store: Store) -> None:
    feedback = Feedback(decision_id="d", quality=1.0)
    store.add_decisions([record("d")])
    assert store.add_feedback([(feedback, Attempt("d", 0, "", cost_usd=0.5))])[0]
    with pytest.raises(StoreError, match="other content"):
        store.add_feedback([(feedback, Attempt("d", 0, "", cost_usd=0.75))])
    with pytest.raises(StoreError, match=r"d/explicit.*other content"):
        store.add_feedback([(attrs.evolve(feedback, quality=0.5), Attempt("d", 0, "", cost_usd=0.5))])
    with pytest.raises(StoreError, match="no candidate 'stranger'"):
        store.add_feedback([(attrs.evolve(feedback, id="other", candidate="stranger"), Attempt("d", 0, "", cost_usd=0.5))])
    assert called(store) == [(0, "b", 0.5)]
    assert ids(store) == (["d"], ["d/explicit"])


@pytest.mark.parametrize("early", [True, False])
def test_figures_that_come_with_feedback_have_a_number_of_their_own(store: Store, early: bool) -> None:
    if not early:
        store.add_decisions([record("d")])
    for _ in range(2):  # the second time nothing is new
        store.add_feedback([(Feedback(decision_id="d", quality=1.0), Attempt("d", 0, "", cost_usd=0.5))])
        store.add_feedback([(Feedback(decision_id="d", quality=0.5, source="judge"), Attempt("d", 0, "", cost_usd=0.75))])
    if early:
        store.add_decisions([record("d")])
    store.add_feedback([(Feedback(decision_id="d", quality=0.5, source="judge"), Attempt("d", 0, "", cost_usd=0.75))])
    assert called(store) == [(0, "b", 0.5), (1, "b", 0.75)]
    assert [feedback.quality for feedback in store.experience().feedback] == [1.0, 0.5]


def test_figures_follow_the_calls_that_were_logged_before_and_are_of_the_one_that_served(store: Store) -> None:
    store.add_decisions([record("d")])
    store.add_attempts([Attempt("d", 0, "b", error="timed out")])
    store.add_attempts([Attempt("d", 1, "a", cost_usd=0.25)])
    store.add_feedback([(Feedback(decision_id="d", quality=1.0), Attempt("d", 0, "", cost_usd=0.5))])
    assert called(store)[1:] == [(1, "a", 0.25), (2, "a", 0.5)]
    assert [feedback.candidate for feedback in store.experience().feedback] == ["a"]


def test_a_callers_own_call_is_kept_beside_figures_that_came_first(store: Store) -> None:
    store.add_decisions([record("d")])
    store.add_feedback([(Feedback(decision_id="d", quality=1.0), Attempt("d", 0, "b", cost_usd=0.1))])
    assert store.add_attempts([Attempt("d", candidate="b", cost_usd=0.2)]) == [1]
    assert sorted(attempt.cost_usd for attempt in store.experience().attempts) == [0.1, 0.2]


def test_figures_may_come_after_the_feedback_that_they_belong_to(store: Store) -> None:
    feedback = Feedback(decision_id="d", quality=1.0)
    store.add_decisions([record("d")])
    assert store.add_feedback([(feedback, None)])[0]
    assert not store.add_feedback([(feedback, Attempt("d", 0, "", cost_usd=0.5))])[0]
    assert not store.add_feedback([(feedback, None)])[0]
    assert called(store) == [(0, "b", 0.5)]


def test_feedback_waits_for_its_decision_and_then_follows_it(store: Store) -> None:
    early = Feedback(decision_id="late", quality=1.0, time=3.0)
    assert store.add_feedback([(early, Attempt("late", 0, "", cost_usd=0.5))])[0]
    assert not store.add_feedback([(early, None)])[0]
    store.add_decisions([record("first")])
    assert [early] == list(store.pending())
    assert ids(store) == (["first"], [])
    store.add_decisions([record("late")])
    assert list(store.pending()) == []
    found = store.experience(after=1)
    assert found.position == 4
    assert (
        [decision.id for decision in found.decisions],
        [attempt.candidate for attempt in found.attempts],
        [feedback.candidate for feedback in found.feedback],
    ) == (["late"], ["b"], ["b"])
    assert not store.add_feedback([(early, None)])[0]


def test_feedback_for_a_candidate_that_the_decision_had_not_is_refused(store: Store) -> None:
    store.add_decisions([record("d")])
    for wrong in ({"quality": 1.0, "candidate": "bb"}, {"over": "bb", "candidate": "a"}):
        with pytest.raises(StoreError, match=r"no candidate 'bb'.*'b'"):
            store.add_feedback([(Feedback(decision_id="d", **wrong), None)])
    with pytest.raises(StoreError, match="cannot beat itself: 'b'"):
        store.add_feedback([(Feedback(decision_id="d", over="b"), None)])
    assert ids(store) == (["d"], [])


def test_early_feedback_that_does_not_fit_its_decision_goes_on_waiting(store: Store) -> None:
    store.add_feedback([(Feedback(decision_id="d", quality=1.0, candidate="stranger"), None)])
    store.add_feedback([(Feedback(decision_id="d", quality=1.0, source="judge"), None)])
    store.add_decisions([record("d")])
    assert ids(store) == (["d"], ["d/judge"])
    assert [feedback.id for feedback in store.pending()] == ["d/explicit"]


def test_early_feedback_that_did_not_fit_gives_way_to_what_comes_under_its_id(store: Store) -> None:
    wrong = Feedback(decision_id="d", quality=1.0, candidate="stranger")
    right = attrs.evolve(wrong, candidate="c", quality=0.5, time=7.0)
    store.add_feedback([(wrong, Attempt("d", 0, "stranger", cost_usd=0.5))])
    with pytest.raises(StoreError, match="other content"):  # the decision may have a stranger yet
        store.add_feedback([(right, None)])
    store.add_decisions([record("d")])
    with pytest.raises(StoreError, match="no candidate 'another'"):
        store.add_feedback([(attrs.evolve(wrong, candidate="another"), None)])
    assert [wrong] == list(store.pending())
    assert store.add_feedback([(right, Attempt("d", 0, "c", cost_usd=0.5))])[0]
    assert list(store.pending()) == []
    assert [right] == list(store.experience().feedback)
    assert called(store) == [(0, "c", 0.5)]
    assert not store.add_feedback([(right, None)])[0]
    with pytest.raises(StoreError, match="other content"):
        store.add_feedback([(wrong, None)])


def test_a_revision_that_did_not_fit_is_not_corrected_once_a_later_one_replaced_it(store: Store) -> None:
    first = Feedback(decision_id="d", quality=1.0, candidate="stranger")
    store.add_feedback([(first, None)])
    store.add_decisions([record("d")])
    second = Feedback(decision_id="d", quality=1.0, revision=1)
    store.add_feedback([(second, None)])
    with pytest.raises(StoreError, match="other content; give a revision above 1"):
        store.add_feedback([(Feedback(decision_id="d", quality=0.0), None)])
    assert [feedback.revision for feedback in store.experience().feedback] == [1]


def test_feedback_is_about_the_candidate_that_served(store: Store) -> None:
    store.add_decisions([record("d")])
    store.add_feedback([(Feedback(decision_id="d", quality=0.0, source="before"), None)])
    store.add_attempts([Attempt("d", 0, "b", error="timed out")])
    store.add_attempts([Attempt("d", 1, "a")])
    store.add_feedback([(Feedback(decision_id="d", quality=1.0, source="after"), None)])
    store.add_feedback([(Feedback(decision_id="d", quality=1.0, source="told", candidate="c"), None)])
    assert [feedback.candidate for feedback in store.experience().feedback] == ["b", "a", "c"]


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_read_in_stretches_each_entry_comes_once_and_with_its_decision(store: Store, limit: int) -> None:
    for name in ("one", "two"):
        store.add_decisions([record(name)])
    store.add_feedback([(Feedback(decision_id="one", quality=1.0), Attempt("one", 0, ""))])
    store.add_feedback([(Feedback(decision_id="two", quality=0.5), None)])
    feedback, attempts, position = [], [], 0
    while (found := store.experience(position, limit)).position > position:
        named = {judged.decision_id for judged in found.feedback} | {attempt.decision_id for attempt in found.attempts}
        assert named <= {decision.id for decision in found.decisions}
        assert len(found.decisions) == len(found.queries) == len(found.estimates)
        feedback += [item.id for item in found.feedback]
        attempts += [item.decision_id for item in found.attempts]
        position = found.position
    assert (feedback, attempts, position) == (["one/explicit", "two/explicit"], ["one"], 5)


@pytest.mark.parametrize("since", ["7d", math.nan, datetime(2026, 1, 1, tzinfo=timezone.utc)])
def test_a_time_that_is_no_number_is_refused(store: Store, since: Any) -> None:
    """It selected other decisions in each store, or none."""
    for limits in ((since, None), (None, since)):
        with pytest.raises(DataError, match="must be seconds since the epoch"):
            store.outcomes(*limits)


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800", 1, b"ann"])
def test_only_a_name_can_be_forgotten(store: Store, name: Any) -> None:
    epoch = store.batch(0, 10).epoch
    with pytest.raises(DataError, match="the user to forget must"):
        store.forget(name)
    with pytest.raises(DataError, match="the tenant to forget must"):
        store.forget(None, name)
    assert store.batch(0, 10).epoch == epoch


@pytest.mark.parametrize("name", ["x" * 512, "\u00e9" * 256, "\U0001f600" * 128])
def test_names_of_512_bytes_are_kept(store: Store, name: str) -> None:
    decided = asked(name, user=name, tenant=name, session=100 * name)
    store.add_decisions([attrs.evolve(decided, decision=attrs.evolve(decided.decision, episode=name))])
    given = Feedback(decision_id=name, quality=1.0, source=name), Attempt(name, cost_usd=0.5)
    assert store.add_feedback([given, given]) == [True, False]
    assert len(store.episode(name)) == 1


@pytest.mark.parametrize("name", ["x" * 513, "\u00e9" * 257])
@pytest.mark.parametrize("field", ["id", "episode", "user", "tenant"])
def test_decisions_with_longer_names_are_refused(store: Store, name: str, field: str) -> None:
    given = asked("e", **({field: name} if field in ("user", "tenant") else {}))
    if field in ("id", "episode"):
        given = attrs.evolve(given, decision=attrs.evolve(given.decision, **{field: name}))
    with pytest.raises(NameLengthError, match=r"must have at most 512 bytes, and '.*'\.\.\. has 51[34]"):
        store.add_decisions([record("d"), given])
    assert ids(store) == ([], [])


def test_entries_on_decisions_with_longer_ids_are_refused(store: Store) -> None:
    assert isinstance(store, RowStore)
    store.add_decisions([record("d")])
    for feedback in (Feedback(decision_id="d", quality=1.0, id="x" * 1026), Feedback(decision_id="x" * 513, quality=1.0)):
        with pytest.raises(NameLengthError, match=r"the id of a (piece of feedback|decision) must have at most"):
            store.add_feedback([(feedback, None)])
        assert isinstance(store.add([feedback_addition(feedback, None)])[1], NameLengthError)
    with pytest.raises(NameLengthError, match="the id of a decision must have at most 512 bytes"):
        store.add_attempts([Attempt("x" * 513, 0)])
    assert (ids(store), store.pending_rows()) == ((["d"], []), [])


def test_a_time_in_milliseconds_is_refused() -> None:
    for late in (10**30, 1.7e12):
        with pytest.raises(DataError, match="time must be seconds since the epoch"):
            Feedback(decision_id="d", quality=1.0, time=late)


def test_an_empty_log_gives_an_empty_experience(store: Store) -> None:
    found = store.experience(after=7)
    assert (found.position, len(found.decisions), len(found.estimates)) == (7, 0, 0)


def test_embeddings_of_several_estimators_are_told_by_an_empty_fingerprint(store: Store) -> None:
    store.add_decisions([record("one"), record("two")])
    alike = store.experience().estimates
    assert alike.fingerprint == "one"
    assert alike.embedding is not None
    assert alike.embedding.shape == (2, 2)
    store.add_decisions([record("three", fingerprint="other")])
    mixed = store.experience().estimates
    assert mixed.fingerprint == ""
    assert mixed.embedding is not None
    assert mixed.embedding.tolist() == [[0.5, -1.5]] * 3  # whoever needs one space looks at the fingerprint
    assert mixed.complexity.tolist() == [0.25] * 3


def test_an_erased_embedding_takes_no_other_away(store: Store) -> None:
    other = record("other")
    store.add_decisions([record("erased"), attrs.evolve(other, query=attrs.evolve(other.query, user="bob"))])
    store.forget("ann")
    embedding = store.experience().estimates.embedding
    assert np.isnan(embedding[0]).all()
    assert embedding[1].tolist() == [0.5, -1.5]


def test_experience_says_what_quality_was_expected(store: Store) -> None:
    expected = attrs.evolve(record("known").expected, quality=np.array([[0.5, 0.25, 1.0]]))
    store.add_decisions([record("unknown"), attrs.evolve(record("known"), expected=expected)])
    assert store.experience().expected_quality == [{}, {"a": 0.5, "b": 0.25, "c": 1.0}]


def test_threads_lose_nothing_and_count_nothing_twice(store: Store) -> None:
    def work(n: int) -> None:
        for name in (f"shared-{k}" for k in range(10)):
            store.add_feedback([(Feedback(decision_id=name, quality=1.0), None)])
        store.add_decisions([record(f"own-{n}")])
        store.add_feedback([(Feedback(decision_id=f"own-{n}", quality=0.5), None)])

    store.add_decisions([record(f"shared-{k}") for k in range(10)])
    threads = [threading.Thread(target=work, args=(n,)) for n in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    decisions, feedback = ids(store)
    assert sorted(decisions) == sorted([f"own-{n}" for n in range(32)] + [f"shared-{k}" for k in range(10)])
    assert sorted(feedback) == sorted(f"{decision}/explicit" for decision in decisions)


def test_a_closed_store_refuses_writes_and_closes_again(store: Store) -> None:
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.add_decisions([record("d")])


def test_a_store_is_named_by_a_url_of_a_known_scheme() -> None:
    with pytest.raises(ConfigError, match=r"sqlite:PATH.*'state\.db'"):
        open_store("state.db", PLUGINS)
    with pytest.raises(UnknownComponentError, match="did you mean 'sqlite'"):
        open_store("sqlit:state.db", PLUGINS)
    with pytest.raises(ConfigError, match="did you mean 'store_text'"):
        open_store("memory:", PLUGINS, {"store_texts": True})


def test_a_preference_that_nobody_gave_reads_as_such(store: Store) -> None:
    store.add_decisions([attrs.evolve(record("d"), preference_given=False), record("e")])
    assert [store.record(name).preference_given for name in "de"] == [False, True]


def test_a_decision_is_made_in_one_stretch_alone(store: Store) -> None:
    store.add_decisions([record("d"), record("e")])
    store.add_feedback([(Feedback(decision_id="d", quality=1.0), None)])
    assert store.experience().made == 2
    assert [store.experience(after, 1).made for after in range(4)] == [1, 1, 0, 0]
    both = store.experience(1).take(np.arange(2))
    assert (len(both.decisions), both.made) == (2, 1)  # d is only judged after position 1


def test_an_experience_has_the_order_of_decisions_and_entries(store: Store) -> None:
    store.add_decisions([record("d")])
    store.add_feedback([(Feedback(decision_id="d", quality=1.0), None)])
    store.add_decisions([record("e")])
    feedback = store.experience().feedback[0]
    assert list(store.experience().in_log_order) == [0, feedback, 1]
    assert list(store.experience(1).in_log_order) == [feedback, 1]


def test_a_view_is_kept_until_a_newer_one_comes(store: Store) -> None:
    assert store.snapshot("router") is None
    for position, content in ((5, b"five"), (4, b"four"), (5, b"again")):
        store.put_snapshot("router", Snapshot(position, content))
        assert store.snapshot("router") == Snapshot(5, b"five")
    store.put_snapshot("router", Snapshot(6, b"six"))
    assert store.snapshot("router") == Snapshot(6, b"six")


def test_the_views_written_longest_ago_go(store: Store) -> None:
    for n in range(8):
        store.put_snapshot(f"router {n}", Snapshot(1, b""))
    store.put_snapshot("router 0", Snapshot(2, b""))
    store.put_snapshot("router 1", Snapshot(1, b""))  # renews it
    store.put_snapshot("router 8", Snapshot(1, b""))
    assert [n for n in range(9) if store.snapshot(f"router {n}") is None] == [2]


def test_a_forgotten_user_is_erased_and_what_was_learned_with_them(store: Store) -> None:
    other = record("other")
    store.add_decisions([record("d"), attrs.evolve(other, query=attrs.evolve(other.query, user="bob", session="s")), record("e")])
    store.add_feedback([(Feedback(decision_id="d", quality=1.0), None)])
    store.put_snapshot("router", Snapshot(4, b"state"))
    assert store.experience().epoch == 0
    assert store.forget("ann") == 2
    for name in "de":
        assert store.record(name).query == attrs.evolve(record(name).query, text="", user=None, prompt_tokens=3)
        assert store.record(name).estimates.embedding is None
    assert (store.record("other").query.user, store.record("other").query.session) == ("bob", "s")
    assert store.record("other").estimates.embedding is not None
    assert store.snapshot("router") is None
    found = store.experience()
    assert (found.epoch, [feedback.quality for feedback in found.feedback]) == (1, [1.0])
    assert store.forget("ann") == 0
    assert store.experience().epoch == 2


def test_an_erasure_in_batches_begins_a_new_epoch_at_its_end_and_can_be_interrupted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_store, "BATCH_ENTRIES", 2)
    assert isinstance(store, RowStore)
    store.add_decisions([record(name) for name in "abcde"])
    store.put_snapshot("router", Snapshot(5, b"state"))
    erase, calls = store._erase, itertools.count(1)

    def interrupted(erasure: Erasure, after: int, limit: int) -> tuple[int, int]:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return erase(erasure, after, limit)

    monkeypatch.setattr(store, "_erase", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.forget("ann")
    assert [query.user for query in store.experience().queries] == [None] * 4 + ["ann"]
    assert store.experience().epoch == 0
    assert store.snapshot("router") is not None
    store.add_decisions([record("f")])  # between two batches
    assert store.forget("ann") == 2
    assert [query.user for query in store.experience().queries] == [None] * 6
    assert store.experience().epoch == 1
    assert store.snapshot("router") is None


def test_an_erasure_covers_copies_of_decisions_whose_time_is_ahead_of_the_clock(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_store, "BATCH_ENTRIES", 2)
    ahead = time.time() + 86_400.0

    def made(name: str, when: float) -> Record:
        return attrs.evolve(record(name), decision=attrs.evolve(record(name).decision, time=when))

    store.add_decisions([made("a", ahead), *(record(name) for name in "bcd")])  # the last batch erases nothing
    store.forget("ann")
    store.forget("ann")  # the log no longer has the time
    store.add_decisions([made("copy", ahead), made("new", ahead + 1.0)])
    assert [query.user for query in store.experience().queries] == [None] * 5 + ["ann"]


def test_the_log_can_tell_who_was_forgotten_and_keeps_no_name(store: Store) -> None:
    assert list(store.forgotten(["ann", "bob"])) == []
    store.forget("ann")
    store.forget("eve")
    assert set(store.forgotten(["ann", "bob"])) == {"ann"}


def test_a_view_of_a_past_epoch_is_not_kept(store: Store) -> None:
    store.forget("ann")
    store.put_snapshot("router", Snapshot(3, b"knows ann", epoch=0))
    assert store.snapshot("router") is None
    store.put_snapshot("router", Snapshot(3, b"", epoch=1))
    assert store.snapshot("router") == Snapshot(3, b"", epoch=1)


def test_much_feedback_at_once_counts_as_each_would(store: Store) -> None:
    store.add_decisions([record("d"), record("e")])
    early = Feedback(decision_id="later", quality=0.5)
    given = [(Feedback(decision_id="d", quality=1.0), None), (Feedback(decision_id="e", over="a", candidate="c"), Attempt("e", 0, "c", cost_usd=0.5))]
    assert store.add_feedback([*given, (early, None), given[0]]) == [True, True, True, False]
    assert ids(store) == (["d", "e"], ["d/explicit", "e/explicit"])
    assert called(store) == [(0, "c", 0.5)]
    assert store.pending() == [early]


def test_feedback_after_one_that_is_refused_is_not_appended(store: Store) -> None:
    store.add_decisions([record("d")])
    given = [
        (Feedback(decision_id="d", quality=1.0, source=source, candidate=candidate), None)
        for source, candidate in (("x", "a"), ("y", "z"), ("w", "b"))
    ]
    with pytest.raises(StoreError, match="no candidate 'z'"):
        store.add_feedback(given)
    assert ids(store)[1] == ["d/x"]
    with pytest.raises(StoreError, match="no candidate 'z'"):
        store.add_feedback(given)  # giving the whole again is harmless
    assert store.add_feedback(given[2:]) == [True]
    assert ids(store)[1] == ["d/x", "d/w"]


def test_32_threads_lose_no_feedback(store: Store) -> None:
    each = 1000 if store.url.startswith("memory") else 50  # benchmarks/feedback.py gives 1,000 each to a file
    store.add_decisions([record(f"d{n}") for n in range(8)])
    with ThreadPoolExecutor(32) as threads:
        new = list(
            threads.map(lambda n: store.add_feedback([(Feedback(decision_id=f"d{n % 8}", quality=0.5, source=str(n)), None)])[0], range(32 * each))
        )
    found = [feedback.id for feedback in store.experience(limit=10**6).feedback]
    assert all(new)
    assert len(found) == len(set(found)) == 32 * each


@given(st.lists(st.tuples(st.sampled_from("dja"), st.integers(0, 2), st.integers(0, 2), st.sampled_from([None, "a", "b", "z"])), max_size=16))
@settings(max_examples=40, deadline=None)
def test_the_log_in_memory_and_the_file_agree_whatever_comes_in_whatever_order(steps: list[tuple[str, int, int, str | None]]) -> None:
    """Decisions, judgements and attempts on three decisions, with ids that repeat, candidates that do not exist, and early comers."""
    with tempfile.TemporaryDirectory() as folder:
        stores = [open_store("memory:", PLUGINS), open_store(f"sqlite:{folder}/log.db", PLUGINS)]
        for kind, name, number, candidate in steps:
            outcomes = [outcome_of(store, kind, f"d{name}", number, candidate) for store in stores]
            assert outcomes[0] == outcomes[1]
        memory, file = ([store.batch().rows, store.pending_rows()] for store in stores)
        for row, other in zip(memory[0] + memory[1], [*file[0], *file[1]], strict=True):
            assert attrs.evolve(row, time=0.0) == attrs.evolve(other, time=0.0)
        assert stores[0].experience(1, 3).feedback == stores[1].experience(1, 3).feedback
        assert list(stores[0].experience().replaced) == list(stores[1].experience().replaced)
        for store in stores:
            store.close()


def outcome_of(store: Store, kind: str, name: str, number: int, candidate: str | None) -> object:
    """Write something, and return what the store says to that."""
    try:
        if kind == "d":
            return store.add_decisions([record(name)])
        if kind == "a":
            return store.add_attempts([Attempt(name, number, candidate or "", cost_usd=0.5 * number)])
        figures = Attempt(name, 0, candidate or "", cost_usd=0.25) if number == 2 else None
        source, revision = str(number % 2), number // 2
        return store.add_feedback(
            [(Feedback(decision_id=name, quality=0.5 * number, candidate=candidate, source=source, revision=revision), figures)]
        )
    except StoreError as error:
        return str(error)


@pytest.mark.parametrize("repeat", [1, 2])
def test_asking_again_returns_the_decision_in_the_log_whatever_the_pools_state_is(store: Store, repeat: int) -> None:
    first = record("d")
    assert list(store.add_decisions([first])) == [first.decision]
    for _ in range(repeat):
        redrawn = attrs.evolve(first.decision, candidate="a", propensity=0.75, time=99.0)
        again = attrs.evolve(first, decision=redrawn, wait_ms=first.wait_ms + 1, masked_why={}, expected=first.expected.take([0]))
        fresh = record("e")
        assert list(store.add_decisions([fresh, again])) == [fresh.decision, first.decision]
    assert ids(store)[0] == ["d", "e"]


@pytest.mark.parametrize(
    "change",
    [
        {"text": "What is that?"},
        {"turns": [Turn("user", "Hi")]},
        {"tenant": "acme"},
        {"user": "bob"},
        {"session": "s"},
        {"needs": {"tools"}},
        {"preference": Preference(1, 0, 0)},
        {"budget_usd": 0.01},
        {"quality_floor": 0.5},
    ],
)
def test_another_request_under_a_known_id_is_refused(store: Store, change: dict[str, Any]) -> None:
    store.add_decisions([record("d")])
    with pytest.raises(StoreError, match="decision 'd' is in the log with other content"):
        store.add_decisions([asked("d", **change)])
    changed = asked("e", **change)
    assert list(store.add_decisions([changed])) == list(store.add_decisions([changed]))
    with pytest.raises(StoreError, match="other content"):
        store.add_decisions([record("e")])


def test_the_id_of_a_forgotten_users_decision_is_refused(store: Store) -> None:
    store.add_decisions([record("d")])
    store.forget("ann")
    assert store.record("d").fingerprint == ""
    again = attrs.evolve(record("d"), decision=attrs.evolve(record("d").decision, time=13.5))
    with pytest.raises(StoreError, match=r"'d' is in the log without its request's fingerprint.*user was forgotten"):
        store.add_decisions([again])


@pytest.mark.parametrize("forgotten", [("ann", None), ("ann", "acme"), (None, "acme")])
def test_an_old_export_is_imported_again_after_its_user_was_forgotten(store: Store, forgotten: tuple[str | None, str | None]) -> None:
    assert isinstance(store, RowStore)
    store.add_decisions([asked("d", tenant="acme", session="s", turns=[Turn("user", "a secret")])])
    store.add_feedback([(Feedback(decision_id="d", quality=0.5, time=13.0), None)])
    export = [addition_of(line_of(row)) for row in store.batch().rows]
    store.forget(*forgotten)
    erased = store.batch().rows
    assert store.add(export) == ([False, False], None)
    assert store.batch().rows == erased


def test_what_later_versions_log_reads_as_it_was_logged(store: Store) -> None:
    plain = record("d")
    turns = [Turn("user", "a secret"), Turn("assistant", "an answer", "b", 0.5)]
    given = attrs.evolve(
        plain,
        query=attrs.evolve(plain.query, turns=turns, tenant="acme", window_tokens=5),
        decision=attrs.evolve(plain.decision, utilities={"a": 0.5, "b": math.nan}, episode="task"),
        in_flight=np.array([[1.0, 0.0, 2.0]]),
        budget_usd=0.5,
    )
    store.add_decisions([given])
    found = store.record("d")
    assert [(turn.role, turn.content, turn.model, turn.rating) for turn in found.query.turns] == [
        ("user", "", None, None),
        ("assistant", "", "b", 0.5),
    ]
    assert (found.query.tenant, found.decision.episode, found.budget_usd) == ("acme", "task", 0.5)
    assert (found.query.prompt_tokens, found.query.window_tokens) == (7, 5)  # 28 characters at four a token
    assert found.decision.utilities["a"] == 0.5
    assert math.isnan(found.decision.utilities["b"])
    assert found.in_flight is not None
    np.testing.assert_array_equal(found.in_flight, given.in_flight)


def test_attempts_take_numbers_around_those_that_are_given(store: Store) -> None:
    store.add_decisions([record("d")])
    assert store.add_attempts([Attempt("d", cost_usd=0.1), Attempt("d", 1), Attempt("d", cost_usd=0.3), Attempt("later")]) == [2, 1, 3, 0]
    assert store.add_attempts([Attempt("d", 1)]) == [1]
    assert store.add_attempts([Attempt("d", 2, cost_usd=0.1)]) == [2]  # the call without a number, reported again by its number
    assert [attempt.n for attempt in store.experience().attempts] == [2, 1, 3]
    with pytest.raises(StoreError, match=r"another attempt 2.*leave n out"):
        store.add_attempts([Attempt("d", 7), Attempt("d", 2, cost_usd=0.2)])
    assert len(store.experience().attempts) == 3  # all or none
    assert store.health()["pending_attempts"] == 1


def test_figures_of_feedback_are_known_under_their_number(store: Store) -> None:
    store.add_decisions([record("d")])
    store.add_feedback([(Feedback(decision_id="d", quality=1.0), Attempt("d", None, "b", cost_usd=0.1))])
    assert store.add_attempts([Attempt("d", 0, "b", cost_usd=0.1)]) == [0]
    with pytest.raises(StoreError, match="another attempt 0"):
        store.add_attempts([Attempt("d", 0, "b", cost_usd=0.2)])
    assert called(store) == [(0, "b", 0.1)]


def test_an_attempts_fields_read_as_they_were_logged(store: Store) -> None:
    tokens = {"prompt_tokens": 9, "cached_tokens": 5, "reasoning_tokens": 2}
    given = Attempt("d", 3, "c", 0.5, 20.0, 7, "gone", status="cancelled", cost_source="priced", first_token_ms=4.0, **tokens)
    store.add_attempts([given])
    store.add_decisions([record("d")])
    assert list(store.experience().attempts) == [given]
    store.add_feedback([(Feedback(decision_id="d", quality=1.0), None)])
    assert [feedback.candidate for feedback in store.experience().feedback] == ["b"]  # a cancelled call did not serve


@pytest.mark.parametrize("early", [True, False])
def test_a_later_revision_replaces_an_earlier_one_and_both_stay(store: Store, early: bool) -> None:
    first = Feedback(decision_id="d", quality=1.0, time=1.0)
    second, third = attrs.evolve(first, quality=0.5, revision=2, time=2.0), attrs.evolve(first, quality=0.0, revision=3, time=3.0)
    if not early:
        store.add_decisions([record("d")])
    assert store.add_feedback([(first, None), (second, None), (first, None), (third, None), (second, None)]) == [True, True, False, True, False]
    for wrong in (attrs.evolve(third, quality=1.0), attrs.evolve(first, quality=0.25), attrs.evolve(first, revision=1)):
        with pytest.raises(StoreError, match=r"'d/explicit' is in the log with other content.*a revision above 3"):
            store.add_feedback([(wrong, None)])
    if early:
        store.add_decisions([record("d")])
    whole = store.experience()
    assert [feedback.quality for feedback in whole.feedback] == [1.0, 0.5, 0.0]
    assert [feedback.quality for feedback in whole.replaced] == [1.0, 0.5]
    assert [whole.replaced_by(feedback) for feedback in whole.feedback] == [None, *whole.feedback[:2]]
    last = store.experience(3)
    assert ([feedback.revision for feedback in last.feedback], [feedback.quality for feedback in last.replaced]) == ([3], [0.5])
    assert last.follows in (None, "feedback/d/explicit#2")  # the log in memory loses no entries, and does not say
    assert store.outcomes().quality.tolist() == [0.0]


@pytest.mark.parametrize("early", [True, False])
def test_the_revisions_of_an_id_are_on_one_decision(store: Store, early: bool) -> None:
    if not early:
        store.add_decisions([record("d"), record("e")])
    first = Feedback(decision_id="d", quality=1.0)
    store.add_feedback([(first, None)])
    with pytest.raises(StoreError, match="feedback 'd/explicit' is in the log with other content, on another decision; give it another source or id"):
        store.add_feedback([(Feedback(decision_id="e", quality=0.0, id=first.id, revision=10**12), None)])
    assert store.add_feedback([(attrs.evolve(first, quality=0.5, revision=1), None)]) == [True]


def test_outcomes_are_arrays_with_nan_for_what_is_unknown(store: Store) -> None:
    unknown = attrs.evolve(record("u").decision, propensity=math.nan, time=20.0)
    store.add_decisions([record("d"), attrs.evolve(record("u"), decision=unknown), record("fallback")])
    store.add_attempts([Attempt("d", 0, "b", cost_usd=0.5), Attempt("d", 1, "b", latency_ms=3.0), Attempt("fallback", 0, "b", error="gone")])
    store.add_attempts([Attempt("fallback", 1, "a", cost_usd=9.0)])
    store.add_feedback([(Feedback(decision_id="d", quality=0.5), None), (Feedback(decision_id="d", quality=1.0, source="implicit"), None)])
    store.add_feedback([(Feedback(decision_id="u", over="a"), None), (Feedback(decision_id="fallback", quality=1.0), None)])
    found = store.outcomes()
    assert (found.decision_ids, found.candidates) == (["d", "u", "fallback"], ["b", "b", "b"])
    np.testing.assert_array_equal(found.propensity, [0.25, math.nan, 0.25])
    np.testing.assert_array_equal(found.quality, [0.5, math.nan, 0.0])  # the chosen candidate's call failed
    np.testing.assert_array_equal(found.cost_usd, [0.5, math.nan, 0.0])  # a failed call without a cost was free
    np.testing.assert_array_equal(found.latency_ms, [3.0, math.nan, math.nan])
    assert store.outcomes(since=13.0).decision_ids == ["u"]
    assert store.outcomes(since=np.int64(13), until=np.float32(30.0)).decision_ids == ["u"]
    assert store.outcomes(until=20.0).decision_ids == ["d", "fallback"]


def test_failed_calls_of_the_chosen_candidate_count_in_cost_and_latency(store: Store) -> None:
    store.add_decisions([record(name) for name in ("retried", "lost", "fallback", "unknown")])
    failed = {"candidate": "b", "error": "timeout"}
    store.add_attempts(
        [
            Attempt("retried", cost_usd=0.05, latency_ms=30_000.0, **failed),
            Attempt("retried", latency_ms=1_000.0, **failed),
            Attempt("retried", candidate="b", cost_usd=0.01, latency_ms=500.0, output_tokens=7),
            Attempt("lost", cost_usd=0.05, **failed),
            Attempt("lost", cost_usd=0.02, **failed),
            Attempt("fallback", latency_ms=60_000.0, **failed),
            Attempt("fallback", candidate="a", cost_usd=9.0, latency_ms=9.0),
            Attempt("unknown", cost_usd=0.05, **failed),
            Attempt("unknown", candidate="b", latency_ms=1.0),
        ]
    )
    found = store.outcomes()
    np.testing.assert_allclose(found.cost_usd, [0.06, 0.07, 0.0, math.nan])  # the successful call's cost is unknown
    np.testing.assert_allclose(found.latency_ms, [31_500.0, math.nan, 60_000.0, 1.0])
    np.testing.assert_array_equal(found.output_tokens, [7.0, math.nan, math.nan, math.nan])


@pytest.mark.parametrize("number", [np.float32, np.float64, np.int64])
def test_times_may_be_numpy_numbers(store: Store, number: Any) -> None:
    plain = record("d")
    store.add_decisions([attrs.evolve(plain, decision=attrs.evolve(plain.decision, time=number(7)))])
    store.add_feedback([(Feedback(decision_id="d", quality=0.5, time=number(8)), None)])
    store.add_feedback([(Feedback(decision_id="early", quality=0.5, time=number(8)), None)])
    found = store.experience()
    assert [type(each.time) for each in (*found.decisions, *found.feedback, *store.pending())] == [float] * 3
    assert (found.decisions[0].time, found.feedback[0].time) == (7.0, 8.0)
    waiting = Feedback(decision_id="d", quality=number(1), time=number(8)), Attempt("d", cost_usd=number(1), output_tokens=7)
    assert addition_of(line_of(*feedback_addition(*waiting)))[-1].time == 8.0


def test_an_episode_has_its_decisions_in_log_order(store: Store) -> None:
    for name, episode in (("z", "one"), ("y", None), ("x", "two"), ("w", "one")):
        given = record(name)
        store.add_decisions([attrs.evolve(given, decision=attrs.evolve(given.decision, episode=episode))])
    assert [found.decision.id for found in store.episode("one")] == ["z", "w"]
    assert list(store.episode("three")) == []


def test_health_gives_plain_numbers(store: Store) -> None:
    store.add_decisions([record("d")])
    store.add_feedback([(Feedback(decision_id="d", quality=1.0), None), (Feedback(decision_id="later", quality=1.0), Attempt("later"))])
    store.put_snapshot("router", Snapshot(1, b""))
    found = store.health()
    known = {"entries": 4, "position": 2, "pending_feedback": 1, "pending_attempts": 1, "snapshots": 1, "unlogged": 0}
    assert known == {name: found[name] for name in known}
    assert store.process_health().items() <= found.items()


def test_options_stand_in_the_url(tmp_path: Path) -> None:
    store = open_store(f"sqlite:{tmp_path / 'log.db'}?store_text=true", PLUGINS)
    store.close()
    assert store.config.store_text is True
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".db"] == ["log.db"]


@pytest.mark.parametrize(
    ("query", "refusal"),
    [("store_texts=true", "no option 'store_texts'; did you mean 'store_text'"), ("store_text=maybe", "store_text"), ("store_text=", "store_text")],
)
def test_an_option_of_a_url_that_cannot_be_used_is_refused(query: str, refusal: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=refusal):
        open_store(f"sqlite:{tmp_path / 'log.db'}?{query}", PLUGINS)
    assert not list(tmp_path.iterdir())


def _write_in_child(store: Store, results: Any) -> None:
    try:
        store.add_feedback([(Feedback(decision_id="d", quality=1.0), None)])
    except ForkedError as error:
        results.put(str(error))
    store.close()


def test_a_forked_child_cannot_write_to_its_parents_log(store: Store) -> None:
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=_write_in_child, args=(store, results))
    child.start()
    assert results.get(timeout=30) == "this process is a fork, and lacks the threads of the decision log; build it after the fork"
    child.join(30)
    assert child.exitcode == 0
    assert store.add_feedback([(Feedback(decision_id="d", quality=1.0), None)]) == [True]


def _open_in_child(url: str, results: Any) -> None:
    try:
        open_store(url, PLUGINS).close()
    except ForkedError as error:
        results.put(str(error))
    else:
        results.put("opened")


def test_a_forked_child_opens_a_file_only_if_its_parent_has_closed_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    url, results = f"sqlite:{tmp_path / 'log.db'}", context.Queue()
    answers = []
    parent = open_store(url, PLUGINS)
    for _ in range(2):
        child = context.Process(target=_open_in_child, args=(url, results))
        child.start()
        answers.append(results.get(timeout=30))
        child.join(30)
        parent.close()
    refusal = f"{tmp_path / 'log.db'} was open when this process was forked; close it before the fork, or start the process with 'spawn'"
    assert answers == [refusal, "opened"]


def test_pending_entries_expire_and_the_log_says_so(store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    now, long_ago = time.time(), time.time() - 31 * 24 * 3600
    store.add_feedback([(Feedback(decision_id="first", quality=1.0, time=now), None)])
    monkeypatch.setattr("time.time", lambda: long_ago)
    store.add_feedback(
        [
            (Feedback(decision_id="typo", quality=1.0, time=long_ago), Attempt("typo", cost_usd=1.0)),
            (Feedback(decision_id="d", quality=0.5, time=long_ago), None),
        ]
    )
    store.add_attempts([Attempt("lost", 0)])
    store.add_decisions([record("d")])
    monkeypatch.setattr("time.time", lambda: now)
    assert store.health()["pending_feedback"] == 2
    assert store.expire_pending() == 3
    assert "3 pending entries of the log were deleted, such as one on decision 'typo'" in caplog.text
    assert [feedback.decision_id for feedback in store.pending()] == ["first"]
    assert (store.health()["pending_attempts"], store.expire_pending()) == (0, 0)
    store.add_decisions([record("typo"), record("first")])
    found = store.experience()
    assert [feedback.decision_id for feedback in found.feedback] == ["d", "first"]
    assert not found.attempts
    assert store.add_feedback([(Feedback(decision_id="typo", quality=0.25), None)]) == [True]  # its id is free again


def test_too_many_pending_entries_push_out_the_oldest(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "config", attrs.evolve(store.config, max_pending=20))
    for n in range(100):
        store.add_feedback([(Feedback(decision_id=f"typo {n}", quality=1.0, time=time.time()), None)])
    kept = [feedback.decision_id for feedback in store.pending()]
    assert len(kept) <= 22
    assert kept[-1] == "typo 99"
