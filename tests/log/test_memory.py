"""What is special about the log in memory: decisions become rows when somebody reads them."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from aamc_sdk.errors import ConfigError, PluginError, StoreError
from aamc_sdk.log import ExportedFile, MemoryStore, StoreOptions, memory, open_store
from aamc_sdk.plugins import Plugins
from aamc_sdk.testing import POOL, make_dataset, make_request
from aamc_sdk.types import Decision, Feedback, Preference, Records


class Contents:
    needs_embeddings = False

    def add(self, ids, times, contents, embeddings):
        assert len(contents) == len(ids)


def batch(*names: str, notes: object = None) -> Records:
    """Return decisions for the pool's second candidate."""
    request = make_request(make_dataset(len(names)))
    noted = {} if notes is None else {"x": notes}
    return Records([Decision(name, POOL.names[1], 1.0, Preference(), notes=noted) for name in names], request)


@pytest.fixture
def store():
    opened = open_store("memory:", Plugins())
    yield opened
    opened.close()


@pytest.mark.parametrize("option", ["retention", "durability", "on_store_failure"])
def test_an_option_of_lasting_logs_is_refused(option) -> None:
    with pytest.raises(ConfigError, match=f"store memory has no option '{option}'"):
        open_store("memory:", Plugins(), {option: "relaxed"})


def test_a_batch_reads_as_single_records_do(store):
    given = batch("a", "b", "c")
    store.add_decisions(given)
    for row, name in enumerate("abc"):
        found, expected = store.record(name), given[row]
        assert found.decision == expected.decision
        assert found.expected.cost_usd == pytest.approx(expected.expected.cost_usd)
        assert np.array_equal(found.wait_ms, expected.wait_ms)
    assert [decision.id for decision in store.experience().decisions] == ["a", "b", "c"]


def test_an_id_that_is_known_with_other_content_changes_nothing(store):
    store.add_decisions(batch("a"))
    with pytest.raises(StoreError, match="'a' is in the log with other content"):
        store.add_decisions([batch("b")[0], attrs.evolve(batch("a")[0], budget_usd=1.0)])
    store.add_decisions(batch("a"))
    assert [decision.id for decision in store.experience().decisions] == ["a"]


def test_feedback_that_waits_gets_its_place_after_its_decision(store):
    store.add_feedback([(Feedback(decision_id="a", quality=1.0), None)])
    store.add_decisions(batch("z", "a"))
    assert [feedback.candidate for feedback in store.experience().feedback] == [POOL.names[1]]
    assert store.pending() == []


def test_notes_that_are_no_json_are_refused_at_once(store):
    with pytest.raises(StoreError, match=r"note 'x' of router '.*' cannot be logged: the log keeps JSON's own types only, not object; use numbers"):
        store.add_decisions(batch("a", notes=object()))
    assert not store.experience().decisions


def test_a_reading_that_is_interrupted_loses_no_decision_and_adds_none_twice(store, monkeypatch):
    def interrupted(excerpt, rows):
        append(excerpt, rows[:2])
        raise KeyboardInterrupt

    append = memory.append
    store.add_decisions(batch("a", "b", "c"))
    with monkeypatch.context() as patched:
        patched.setattr(memory, "append", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.experience()
    assert [decision.id for decision in store.experience().decisions] == ["a", "b", "c"]
    assert store.position() == 3


def test_records_are_a_sequence():
    given = batch("a", "b", "c")
    assert [record.decision.id for record in given] == ["a", "b", "c"]
    assert given[-1].decision.id == "c"
    assert [record.decision.id for record in given[1:]] == ["b", "c"]
    with pytest.raises(IndexError):
        given[3]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("memory:log", "memory:log"),
        ("sqlite:a@b.db?store_text=true&password=secret", "sqlite:a@b.db?store_text=true"),
        ("sqlite:/data/a@b.db?retention={days: 30}", "sqlite:/data/a@b.db?retention={days: 30}"),
        ("redis:ann:secret@host", "redis:host"),  # mistyped, as are the next two
        ("postgres:/ann:secret@host/log?sslmode=require", "postgres:host/log?sslmode=require"),
        ("redis:ann:se?cret@host", "redis:"),
        ("redis://:se?cret@host/0", "redis://"),
        ("redis://host:6379/0?password=p@ss", "redis://host:6379/0"),
        ("postgres://host/log?pass%77ord=secret&user=ann&sslmode=require", "postgres://host/log?sslmode=require"),
        ("redis://host/0?password=secret", "redis://host/0"),
        ("postgres://host/log?PASSWORD=secret&User=ann", "postgres://host/log"),  # as no server knows it, so an error names the URL
        ("postgres://host/log?sslmode=require&password=secret&sslpassword=x&sslcert=c.pem", "postgres://host/log?sslmode=require&sslcert=c.pem"),
    ],
)
def test_a_log_s_name_is_its_url_without_passwords(url, name):
    assert MemoryStore(url, StoreOptions()).name == name


def test_messages_name_a_log_without_the_password_in_its_url(caplog):
    store = MemoryStore("memory://ann:secret@host/log", StoreOptions())
    assert store.name == "memory://host/log"
    store.note_export(ExportedFile("log.parquet", "parquet"))
    assert "memory://host/log" in caplog.text
    assert "secret" not in caplog.text
    store.note_export(ExportedFile("other.parquet", "parquet"))
    assert len(caplog.records) == 1  # a folder may get many files
    store.close()


def test_nothing_stays_of_pending_entries_that_are_deleted_or_placed(store):
    store.add_feedback([(Feedback(decision_id=name, quality=1.0, time=1.0), None) for name in ("never", "late")])
    store.add_decisions(batch("late"))
    assert store.expire_pending() == 1
    log = store._log
    assert not log._pending
    assert not log.find("feedback", "never/explicit")
    assert ("feedback", "never/explicit") not in log._known


def test_reading_the_log_leaves_no_parsed_content_in_memory(store):
    store.add_decisions(batch("a", "b"))
    store.add_feedback([(Feedback(decision_id="a", quality=1.0), None)])
    experience = store.experience()
    assert [decision.id for decision in experience.decisions] == ["a", "b"]
    assert store.record("a").decision.id == "a"
    store.outcomes(reader=Contents())
    assert not any("fields" in vars(row) for row in store._log.added)


def test_the_health_of_a_log_turns_no_decisions_into_rows(store, monkeypatch):
    store.add_decisions(batch("a", "b"))
    store.add_decisions(batch("c"))
    monkeypatch.setattr(memory, "append", None)
    assert store.health().items() >= {"position": 3, "entries": 3, "pending_feedback": 0}.items()
    assert store.pending() == []


def test_the_health_of_a_log_counts_feedback_that_waited_for_a_decision(store):
    store.add_feedback([(Feedback(decision_id=name, quality=1.0), None) for name in ("a", "never")])
    store.add_decisions(batch("a"))
    assert store.health().items() >= {"position": 2, "entries": 3, "pending_feedback": 1}.items()


def test_decisions_are_added_between_the_many_that_become_rows(store, monkeypatch):
    def add_another(seconds: float) -> None:
        store.add_decisions(batch(f"later {store.position()}"))

    for name in "abcdef":
        store.add_decisions(batch(name))
    monkeypatch.setattr(memory, "ROWS_AT_ONCE", 2)
    monkeypatch.setattr(memory.time, "sleep", add_another)
    assert [decision.id for decision in store.experience().decisions] == [*"abcdef", "later 6", "later 7", "later 8"]
    assert store.position() == 9


def test_a_store_that_reads_no_batch_is_named(store, monkeypatch):
    monkeypatch.setattr(store, "batch", lambda after, limit: None)
    for read in (store.experience, lambda: list(store.placed())):
        with pytest.raises(PluginError, match=r"batch of store 'memory' must return aamc_sdk.log.Batch, not None"):
            read()


def test_a_store_that_fails_to_read_a_batch_is_named(store, monkeypatch):
    monkeypatch.setattr(store, "batch", lambda after, limit: {}["table"])
    for read in (store.experience, lambda: list(store.placed())):
        with pytest.raises(StoreError, match=r"^store 'memory' failed: KeyError: 'table'$"):
            read()
