"""How a log's file is made, brought to a newer version, and synced."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import attrs
import numpy as np
import pytest

from aamc_sdk.errors import StoreAwayError, StoreError
from aamc_sdk.log import Retention, SqliteOptions, SqliteStore, line_of
from aamc_sdk.log.sqlite import schema
from aamc_sdk.log.sqlite import store as sqlite_store
from aamc_sdk.testing import POOL, make_dataset, make_request
from aamc_sdk.types import Attempt, Decision, Estimates, Feedback, Outcomes, Preference, Query, Record, Records, Snapshot

DATA = Path(__file__).parent / "data"


def opened(path: Path, **options: object) -> SqliteStore:
    return SqliteStore(f"sqlite:{path}", SqliteOptions(**options))


def decision(name: str) -> Records:
    return Records([Decision(name, POOL.names[0], 1.0, Preference())], make_request(make_dataset(1)))


@pytest.fixture
def fourth(tmp_path: Path) -> Path:
    """Return a log as version 4 wrote it: decisions of ann, bob and the forgotten eve, with attempts, feedback in two revisions, and a snapshot."""
    with closing(sqlite3.connect(tmp_path / "log.db")) as connection:
        connection.executescript((DATA / "version-4.sql").read_text())
    return tmp_path / "log.db"


def logged(name: str, user: str, time: float) -> Record:
    """Return a record as version-4.sql has it."""
    return Record(
        decision=Decision(name, "b", 0.25, Preference(0.5, 0.25, 0.25), {"a": 0.75, "b": 0.25}, "tiny", time, {"why": "draw"}),
        query=Query("What is 1e-05 of é?", user=user, tenant="acme", needs={"tools", "code"}, output_tokens=9),
        estimates=Estimates(
            np.array([0.25]), np.array([[0.75, 0.25]]), ("code", "chat"), np.array([math.nan]), np.array([[0.5, -1.5]], dtype=np.float32), "one"
        ),
        candidates=("a", "b", "c"),
        expected=Outcomes(None, np.array([[1e-05, 0.2, math.nan]]), np.array([[1.0, 2.0, 3.0]])),
        wait_ms=np.array([[0.0, 5.0, 0.0]]),
        masked_why={"c": "over budget"},
    )


def test_a_log_of_version_4_keeps_every_entry_as_it_is(fourth: Path) -> None:
    with closing(sqlite3.connect(fourth)) as connection:
        before = connection.execute("SELECT * FROM entries ORDER BY n").fetchall()
    with closing(opened(fourth, store_text=True)) as store:
        entries = [*store.batch().rows, *store.pending_rows()]
        assert [json.loads(line) for line in (DATA / "version-4.jsonl").read_text().splitlines()] == [json.loads(line_of(row)) for row in entries]
        assert store.snapshot("router") == Snapshot(7, b"state", 1, "feedback/e/explicit")
        assert store.add([(row,) for row in entries]) == ([False] * len(entries), None)
    with closing(sqlite3.connect(fourth)) as connection:
        assert connection.execute("SELECT * FROM entries ORDER BY n").fetchall() == before
        assert connection.execute("PRAGMA user_version").fetchone() == (5,)


def test_what_version_4_knows_counts_once_although_its_json_has_other_spaces_and_numbers(fourth: Path) -> None:
    with closing(opened(fourth, store_text=True)) as store:
        assert list(store.add_decisions([logged("d", "ann", 1.0)])) == [store.record("d").decision]
        judged = Feedback(decision_id="d", quality=1.0, time=1.0)
        assert store.add_feedback([(judged, Attempt("d", cost_usd=1e-05, latency_ms=20.0))]) == [False]
        assert store.add_feedback([(Feedback(decision_id="e", quality=0.25, revision=1, confidence=1e-05), None)]) == [False]
        assert store.add_attempts([Attempt("e", 0, error="timed out")]) == [0]
        with pytest.raises(StoreError, match="other content"):
            store.add_feedback([(attrs.evolve(judged, quality=0.5), None)])
        (again,) = store.add_decisions([logged("f", "ann", 1760200000.0)])  # packed
        assert list(store.add_decisions([logged("f", "ann", 1.0)])) == [again]
        assert store.record("f").query == logged("f", "ann", 1.0).query


def test_a_log_of_version_4_is_divided_and_retained(fourth: Path) -> None:
    with closing(opened(fourth, retention=Retention(days=1))) as store:
        assert [(each.first, each.begun) for each in store.partitions()] == [(1, 1760000000.0), (2, 1760000001.0), (5, 1760100001.0)]
        store.add_decisions(decision("new"))
        assert store.retain() == 2
        assert [(row.kind, row.decision_id) for row in store.batch().rows] == [
            ("decision", "e"),
            ("attempt", "e"),
            ("feedback", "e"),
            ("feedback", "e"),
            ("decision", "new"),
        ]
        assert store.forget("bob") == 1
        assert store.snapshot("router") == Snapshot(7, b"state", 1, "feedback/e/explicit")


def test_a_migration_of_many_old_entries_says_how_long_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    monkeypatch.setattr(schema, "_ENTRIES_A_SECOND", 2)
    with closing(sqlite3.connect(tmp_path / "log.db")) as connection:
        connection.executescript((DATA / "version-3.sql").read_text())
    opened(tmp_path / "log.db").close()
    assert "is of version 3; its 11 entries are migrated to version 5, about 5 s" in caplog.text


MAKER = """
import os, signal, sys
from pathlib import Path
from aamc_sdk.log import SqliteStore, SqliteOptions
from aamc_sdk.log.sqlite import schema
target = sys.argv[2]
owner = {"transaction": schema, "write_ahead": schema, "_move": schema, "link": os}[target]
def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(owner, target, die)
SqliteStore("sqlite:" + sys.argv[1], SqliteOptions())
"""


@pytest.mark.parametrize("step", ["transaction", "write_ahead", "_move", "link"])
def test_a_process_that_is_killed_as_it_makes_a_log_leaves_none(tmp_path: Path, step: str) -> None:
    path = tmp_path / "log.db"
    killed = subprocess.run([sys.executable, "-c", MAKER, str(path), step], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not path.exists()
    with closing(opened(path)) as store:
        store.add_decisions(decision("d"))


def test_a_file_system_without_links_takes_a_new_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    for _ in range(2):
        with closing(opened(tmp_path / "log.db")) as store:
            store.add_feedback([(Feedback(decision_id="d", quality=1.0), None)])
    assert [path.name for path in tmp_path.iterdir()] == ["log.db"]


def test_a_new_log_has_the_rights_that_the_process_gives_to_files(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        opened(tmp_path / "log.db").close()
    finally:
        os.umask(before)
    assert (tmp_path / "log.db").stat().st_mode & 0o777 == 0o640


def test_relaxed_commits_are_synced_soon_without_another_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced, fsync = threading.Event(), os.fsync

    def note(descriptor: int) -> None:
        fsync(descriptor)
        if str(Path(f"/proc/self/fd/{descriptor}").readlink()).endswith("-wal"):
            synced.set()

    monkeypatch.setattr(os, "fsync", note)
    with closing(opened(tmp_path / "log.db", durability="relaxed")) as store:
        for name in "ab":
            store.add_decisions(decision(name))
            assert synced.wait(30)
            synced.clear()
        store.put_snapshot("ours", Snapshot(2, b"state"))
        assert synced.wait(30)
        synced.clear()
    with closing(opened(tmp_path / "log.db")) as store:
        store.add_decisions(decision("c"))
        assert not synced.is_set()  # SQLite itself has synced it
        assert [row.id for row in store.batch().rows] == ["a", "b", "c"]


def test_relaxed_commits_are_synced_in_time_however_many_follow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_store, "SYNC_S", 0.0)
    calls = []
    monkeypatch.setattr(SqliteStore, "_sync", lambda store: calls.append(store))
    with closing(opened(tmp_path / "log.db", durability="relaxed")) as store:
        for number in range(20):
            store.add_decisions(decision(str(number)))
    assert len(calls) >= 19  # the last may be synced by closing


def test_decisions_are_served_unlogged_where_the_log_is_away_and_the_option_says_so(tmp_path: Path, caplog) -> None:
    path = tmp_path / "log.db"
    with closing(opened(path, on_store_failure="serve")) as store:
        (given,) = decision("d")
        assert store.add_decisions([given]) == [given.decision]
        path.unlink()
        for name in "ef":
            (served,) = store.add_decisions(decision(name))
            assert (served.id, served.candidate) == (name, POOL.names[0])
            assert math.isnan(served.propensity)
        assert store._unlogged == 2
        assert caplog.text.count("served without being logged") == 1
        with pytest.raises(StoreAwayError):
            store.add_feedback([(Feedback(decision_id="d", quality=1.0), None)])


def test_a_request_that_is_refused_is_refused_where_others_are_served(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "log.db", on_store_failure="serve")) as store:
        (given,) = decision("d")
        store.add_decisions([given])
        with pytest.raises(StoreError, match="other content"):
            store.add_decisions([attrs.evolve(given, budget_usd=1.0)])
        assert store.health()["unlogged"] == 0


def test_a_reader_that_ends_after_the_log_was_closed_leaves_no_connection_open(tmp_path: Path) -> None:
    store = opened(tmp_path / "log.db")

    class ClosedMeanwhile(list[sqlite3.Connection]):
        def append(self, connection: sqlite3.Connection) -> None:
            store.close()
            super().append(connection)

    store._idle = ClosedMeanwhile()
    store.snapshot("router")
    assert store._idle == []


def test_a_log_that_cannot_be_opened_leaves_neither_a_connection_nor_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(opened(tmp_path / "log.db")) as store:
        store.add_decisions(decision("d"))
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{store.path}{suffix}", f"{tmp_path / 'copy.db'}{suffix}")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "copies"))
    (tmp_path / "copies").mkdir()

    def refused(address: str) -> sqlite3.Connection:
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(sqlite_store, "connect", refused)
    with pytest.raises(StoreError, match="there is no such file, or it cannot be read") as raised:
        opened(tmp_path / "copy.db", read_only=True)
    assert raised.value is not None  # its traceback still holds the store
    assert list((tmp_path / "copies").iterdir()) == []


def test_sqlites_own_backup_of_an_open_log_has_every_acknowledged_entry(tmp_path: Path) -> None:
    """As docs/how-to/stores.md advises; a copy of the file alone lacks what is in the write-ahead log."""
    with closing(opened(tmp_path / "log.db")) as store:
        store.add_decisions(decision("d1"))
        shutil.copy(tmp_path / "log.db", tmp_path / "copied.db")
        with closing(sqlite3.connect(tmp_path / "log.db")) as source, closing(sqlite3.connect(tmp_path / "backup.db")) as target:
            source.backup(target)
    positions = {}
    for name in ("copied.db", "backup.db"):
        with closing(opened(tmp_path / name)) as copy:
            positions[name] = copy.position()
    assert positions == {"copied.db": 0, "backup.db": 1}
