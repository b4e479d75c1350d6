"""What only the file has: durability, refusals of files that are not logs, several processes."""

from __future__ import annotations

import json
import math
import os
import pwd
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import attrs
import pytest

from aamc_sdk.errors import StoreAwayError, StoreError
from aamc_sdk.log import SqliteOptions, SqliteStore, addition_of, line_of, open_store
from aamc_sdk.plugins import Plugins
from aamc_sdk.testing import POOL, make_dataset, make_request
from aamc_sdk.types import Attempt, Decision, Feedback, Preference, Query, Records, Snapshot

PLUGINS = Plugins()
DATA = Path(__file__).parent / "data"
WRITER = """
import sys
from aamc_sdk.log.sqlite.store import SqliteOptions, SqliteStore
from aamc_sdk.types import Feedback
store = SqliteStore("sqlite:" + sys.argv[1], SqliteOptions())
for n in range(int(sys.argv[3])):
    store.add_feedback([(Feedback(decision_id=f"{sys.argv[2]}-{n}", quality=1.0), None)])
    print(f"{sys.argv[2]}-{n}", flush=True)
"""


def open_log(path: Path) -> SqliteStore:
    return SqliteStore(f"sqlite:{path}", SqliteOptions())


def writer(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path), name, str(count)], stdout=subprocess.PIPE, text=True)


def test_what_was_acknowledged_outlives_a_killed_process(tmp_path: Path) -> None:
    with writer(tmp_path / "log.db", "x", 1_000_000) as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline().strip() for _ in range(50)]
        os.kill(process.pid, signal.SIGKILL)
        acknowledged += process.stdout.read().split("\n")[:-1]
    with closing(open_log(tmp_path / "log.db")) as store:
        kept = {feedback.decision_id for feedback in store.pending()}
    assert len(acknowledged) >= 50
    assert set(acknowledged) <= kept


def test_several_processes_share_a_file(tmp_path: Path) -> None:
    processes = [writer(tmp_path / "log.db", name, 20) for name in "abc"]
    assert [process.wait() for process in processes if process.communicate()] == [0, 0, 0]
    with closing(open_log(tmp_path / "log.db")) as store:
        assert {f"{name}-{n}" for name in "abc" for n in range(20)} == {feedback.decision_id for feedback in store.pending()}


def test_a_new_file_is_opened_by_many_at_once(tmp_path: Path) -> None:
    together = threading.Barrier(6)

    def open_and_write(path: Path, n: int) -> int:
        together.wait()
        with closing(open_log(path)) as store:
            store.add_feedback([(Feedback(decision_id=str(n), quality=1.0), None)])
            return len(store.pending())

    with ThreadPoolExecutor(6) as threads:
        for attempt in range(30):
            counts = threads.map(open_and_write, [tmp_path / f"{attempt}.db"] * 6, range(6))
            assert max(counts) == 6


def test_a_log_is_as_it_was_when_it_is_opened_again(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with closing(open_log(tmp_path / "log.db")) as store:
            store.add_feedback([(Feedback(decision_id=name, quality=1.0), None)])
            names = [feedback.decision_id for feedback in store.pending()]
    assert names == ["one", "two"]


@pytest.fixture
def unwritable() -> Iterator[Path]:
    """Return a log of one decision in a folder that cannot be written, as on a read-only medium; nor by root, who becomes nobody."""
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.db"
        with closing(open_log(path)) as store:
            store.add_decisions(Records([Decision("d", POOL.names[0], 1.0, Preference())], make_request(make_dataset(1))))
        path.chmod(0o444)
        path.parent.chmod(0o555)
        if root:
            nobody = pwd.getpwnam("nobody").pw_uid
            os.setresuid(nobody, nobody, 0)
        try:
            yield path
        finally:
            if root:
                os.setresuid(0, 0, 0)
            path.parent.chmod(0o755)


def test_a_log_that_was_copied_with_its_write_ahead_log_is_read_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied, temporary = tmp_path / "copied", tmp_path / "temporary"
    copied.mkdir()
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with closing(open_log(tmp_path / "log.db")) as store:
        store.add_decisions(Records([Decision("d", POOL.names[0], 1.0, Preference())], make_request(make_dataset(1))))
        for suffix in ("", "-wal"):
            shutil.copy(f"{tmp_path / 'log.db'}{suffix}", copied)
    assert (copied / "log.db-wal").stat().st_size > 0
    with closing(SqliteStore(f"sqlite:{copied / 'log.db'}", SqliteOptions(read_only=True))) as store:
        assert store.record("d").decision.candidate == POOL.names[0]
    assert {path.name for path in copied.iterdir()} == {"log.db", "log.db-wal"}  # nothing was written next to them
    assert list(temporary.iterdir()) == []


def test_reading_does_not_turn_an_empty_file_into_a_log(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(StoreError, match=r"there is no store at .*empty; give the URL of an existing one"):
        open_store(f"sqlite:{tmp_path / 'empty'}", PLUGINS, existing=True)
    with pytest.raises(StoreError, match=r"empty is empty; delete it or choose another path"):
        open_store(f"sqlite:{tmp_path / 'empty'}", PLUGINS)
    assert (tmp_path / "empty").stat().st_size == 0
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_reading_does_not_turn_a_short_file_into_a_log(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("\n")
    for existing in (True, False):
        with pytest.raises(StoreError, match=r"notes is too short for a log; choose another path"):
            open_store(f"sqlite:{tmp_path / 'notes'}", PLUGINS, existing=existing)
    assert (tmp_path / "notes").read_text() == "\n"


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("size", [None, 0, 1])
def test_entries_beside_a_missing_or_cut_file_are_kept(tmp_path: Path, size: int | None, read_only: bool) -> None:
    path = tmp_path / "log.db"
    with closing(open_log(tmp_path / "whole.db")) as store:  # SQLite deletes the -wal file beside an empty file
        store.add_feedback([(Feedback(decision_id="d", quality=1.0), None)])
        shutil.copy(f"{tmp_path / 'whole.db'}-wal", f"{path}-wal")
    if size is not None:
        path.write_bytes(bytes(size))
    entries = Path(f"{path}-wal").read_bytes()
    for existing in (True, False):
        with pytest.raises(StoreError, match=r"missing or cut off, but log\.db-wal holds entries.*: restore a copy of the file, or move the -wal"):
            open_store(f"sqlite:{path}{'?read_only=true' * read_only}", PLUGINS, existing=existing)
    assert Path(f"{path}-wal").read_bytes() == entries
    assert path.exists() == (size is not None)


def test_a_log_that_cannot_be_written_is_read(unwritable: Path) -> None:
    with closing(open_store(f"sqlite:{unwritable}", PLUGINS, existing=True)) as store:
        assert [decision.id for decision in store.experience().decisions] == ["d"]
        assert store.record("d").decision.candidate == POOL.names[0]
        assert not store.pending()
        with pytest.raises(StoreError, match="it is opened only for reading"):
            store.add_feedback([(Feedback(decision_id="d", quality=1.0), None)])
        with pytest.raises(StoreError, match="it is opened only for reading"):
            store.forget("ann")
    with pytest.raises(StoreError, match="cannot be written"):
        open_store(f"sqlite:{unwritable}", PLUGINS)  # who goes on to write is told at once


def test_what_others_write_is_seen_by_who_only_reads(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with closing(open_log(path)) as writer, closing(SqliteStore(f"sqlite:{path}", SqliteOptions(read_only=True))) as reader:
        writer.add_feedback([(Feedback(decision_id="d", quality=1.0), None)])
        assert [feedback.id for feedback in reader.pending()] == ["d/explicit"]
    with closing(SqliteStore(f"sqlite:{path}", SqliteOptions(read_only=True))) as reader:
        assert [feedback.id for feedback in reader.pending()] == ["d/explicit"]


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("read_only", [False, True])
def test_a_database_of_something_else_is_left_as_it_is_whatever_its_version(tmp_path: Path, version: int, read_only: bool) -> None:
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as theirs:
        theirs.execute("CREATE TABLE users (id)")
        theirs.execute(f"PRAGMA user_version = {version}")
        theirs.commit()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="something else and was left as it is"):
        SqliteStore(f"sqlite:{path}", SqliteOptions(read_only=read_only))
    assert path.read_bytes() == before
    assert [other.name for other in tmp_path.iterdir()] == ["theirs.db"]


def test_a_log_that_was_removed_or_replaced_takes_no_more(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with closing(open_log(path)) as store:
        store.add_feedback([(Feedback(decision_id="before", quality=1.0), None)])
        for file in (path, Path(f"{path}-wal")):
            file.unlink()
        with pytest.raises(StoreAwayError, match="removed or replaced"):
            store.add_feedback([(Feedback(decision_id="lost", quality=1.0), None)])
        with closing(open_log(path)) as another:
            with pytest.raises(StoreAwayError, match="removed or replaced"):
                store.put_snapshot("ours", Snapshot(1, b"state"))
            assert another.snapshot("ours") is None
        path.unlink()
        path.touch()
        with pytest.raises(StoreAwayError, match="removed or replaced"):
            store.add_feedback([(Feedback(decision_id="lost", quality=1.0), None)])


@pytest.mark.parametrize("content", [None, b"not a database" * 100])
def test_reading_a_log_that_was_removed_or_replaced_says_so(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "log.db"
    with closing(open_log(path)) as store:
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(StoreAwayError, match="was removed or replaced while it was open: open it again"):
            store.health()


def test_a_damaged_entry_is_told_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with closing(open_log(path)) as store:
        store.add_feedback([(Feedback(decision_id="d", quality=1.0), None)])
        with closing(sqlite3.connect(path)) as hand:
            hand.execute("UPDATE entries SET content = '{bad'")
            hand.commit()
        with pytest.raises(StoreError, match="entry 'feedback/d/explicit' is damaged"):
            store.pending()


def test_an_attempt_without_its_number_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with closing(open_log(path)) as store:
        store.add_decisions(Records([Decision("d", POOL.names[0], 0.5, Preference())], make_request(make_dataset(1))))
        store.add_attempts([Attempt("d", candidate=POOL.names[0])])
        with closing(sqlite3.connect(path)) as hand:
            hand.execute("UPDATE entries SET content = '{}' WHERE kind = 'attempt'")
            hand.commit()
        with pytest.raises(StoreError, match=r"entry 'attempt/d/.*' is damaged \('n' is missing\)"):
            store.add_attempts([Attempt("d", candidate=POOL.names[0])])


def test_an_entry_of_an_unknown_kind_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with closing(open_log(path)) as store:
        store.add_decisions(Records([Decision("d", POOL.names[0], 0.5, Preference())], make_request(make_dataset(1))))
        with closing(sqlite3.connect(path)) as hand:
            hand.execute("UPDATE entries SET kind = 'decisiom'")
            hand.commit()
        with pytest.raises(StoreError, match=r"entry 'd' is damaged \(its kind is 'decisiom'\)"):
            store.outcomes()


@pytest.mark.parametrize("change", ["propensity = 'half'", "embedding = x'0102'", "content = '[]'", "content = '{}'", "content = 5"])
def test_a_value_of_another_type_is_damage_of_its_entry(tmp_path: Path, change: str) -> None:
    path = tmp_path / "log.db"
    with closing(open_log(path)) as store:
        store.add_decisions(Records([Decision(name, POOL.names[0], 0.5, Preference()) for name in "abc"], make_request(make_dataset(3))))
        with closing(sqlite3.connect(path)) as hand:
            hand.execute(f"UPDATE entries SET {change} WHERE id = 'b'")
            hand.commit()
        if "propensity" in change:  # a column alone
            with pytest.raises(StoreError, match=r"entry 'b' is damaged"):
                store.outcomes()
        else:
            with pytest.raises(StoreError, match=r"entry 'decision/b' is damaged"):
                store.record("b")


def test_who_only_reads_keeps_no_view(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    open_log(path).close()
    with closing(SqliteStore(f"sqlite:{path}", SqliteOptions(read_only=True))) as reader:
        reader.put_snapshot("router", Snapshot(1, b"what it learned"))
        assert reader.snapshot("router") is None


def test_a_log_that_is_only_read_says_so_when_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    open_log(path).close()
    with closing(SqliteStore(f"sqlite:{path}", SqliteOptions(read_only=True))) as reader:
        for write in (lambda: reader.add_feedback([(Feedback(decision_id="d", quality=1.0), None)]), lambda: reader.forget("ann")):
            with pytest.raises(StoreError, match="it is opened only for reading: make its file and folder writable, and leave out read_only"):
                write()
    with pytest.raises(StoreError, match="there is no such file, or it cannot be read; read_only makes none"):
        SqliteStore(f"sqlite:{tmp_path / 'missing.db'}", SqliteOptions(read_only=True))


def test_who_only_reads_does_not_mind_when_a_writer_comes_and_goes(tmp_path: Path) -> None:
    path, done = tmp_path / "log.db", threading.Event()
    open_log(path).close()

    def come_and_go() -> None:
        while not done.is_set():
            path.with_name("log.db-wal").touch()  # as an opened log has it
            path.with_name("log.db-wal").unlink()

    with ThreadPoolExecutor(1) as threads, closing(SqliteStore(f"sqlite:{path}", SqliteOptions(read_only=True))) as reader:
        coming = threads.submit(come_and_go)
        try:
            assert [reader.pending() for _ in range(300)] == [[]] * 300
        finally:
            done.set()
        coming.result()


def test_a_log_of_an_older_version_is_not_made_a_newer_one_by_who_only_reads(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    open_log(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")
    with pytest.raises(StoreError, match="has version 2, which must be migrated before it is read"):
        SqliteStore(f"sqlite:{path}", SqliteOptions(read_only=True))


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    open_log(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 7")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="version 7, newer than 5"):
        open_log(path)
    assert before == path.read_bytes()


def old_log(path: Path) -> Path:
    """Return a log as version 0.1 wrote it, with an entry of each kind, pending ones and a snapshot."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((DATA / "version-3.sql").read_text())
    return path


def test_a_log_of_the_first_version_is_migrated_in_place(tmp_path: Path) -> None:
    path = old_log(tmp_path / "log.db")
    with closing(sqlite3.connect(path)) as connection:  # version 1 had neither of these
        connection.executescript("DROP TABLE views; DROP TABLE erasures; PRAGMA user_version = 1")
    with closing(open_log(path)) as store:
        assert [feedback.decision_id for feedback in store.pending()] == ["later"]
        store.put_snapshot("router", Snapshot(3, b"state", last="decision/d"))
        assert store.snapshot("router") == Snapshot(3, b"state", last="decision/d")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (5,)


def test_a_log_of_version_0_1_keeps_every_entry(tmp_path: Path) -> None:
    exported = [json.loads(line) for line in (DATA / "version-0.1.jsonl").read_text().splitlines()]
    with closing(SqliteStore(f"sqlite:{old_log(tmp_path / 'log.db')}", SqliteOptions(store_text=True))) as store:
        entries = [*store.batch().rows, *store.pending_rows()]
        assert exported == [json.loads(line_of(row)) for row in entries]
        assert [found.id for found in store.experience().decisions] == ["d", "e", "f"]
        assert [(found.n, found.candidate, found.status) for found in store.experience().attempts] == [
            (0, "b", "error"),
            (1, "a", "ok"),
            (2, "a", "ok"),
        ]
        assert math.isnan(store.record("f").decision.propensity)
        assert store.snapshot("router") == Snapshot(8, b"state", 1, "decision/f")
        assert set(store.forgotten(["eve", "ann"])) == {"eve"}
        assert store.add([(row,) for row in entries]) == ([False] * 11, None)
        assert store.add([addition_of(json.dumps(line)) for line in exported]) == ([False] * 11, None)
        assert store.add_feedback([(Feedback(decision_id="d", quality=1.0), Attempt("d", cost_usd=0.5))]) == [False]  # a client's retry
        assert store.add_attempts([Attempt("d", 0, "b", error="timed out"), Attempt("d")]) == [0, 3]
        with pytest.raises(StoreError, match="without its request's fingerprint"):
            store.add_decisions([attrs.evolve(store.record("d"), budget_usd=1.0)])
        assert store.forget("ann") == 2
        assert store.record("e").query.user == "bob"


def test_a_user_is_found_by_an_index(tmp_path: Path) -> None:
    with closing(open_log(tmp_path / "log.db")), closing(sqlite3.connect(tmp_path / "log.db")) as connection:
        plan = connection.execute("EXPLAIN QUERY PLAN SELECT * FROM entries WHERE user_id = 'ann' LIMIT 9").fetchall()
    assert "USING INDEX entries_by_user" in str(plan)


def test_columns_answer_without_json(tmp_path: Path) -> None:
    """Migrated entries and new ones fill the same columns; an unknown number is NULL."""
    path = old_log(tmp_path / "log.db")
    columns = "user_id, tenant, episode, propensity, quality, attempt, status, cost_usd, cost_source, latency_ms, output_tokens"
    with closing(open_log(path)) as store:
        (given,) = Records([Decision("new", POOL.names[0], math.nan, Preference(), episode="task")], make_request(make_dataset(1)))
        store.add_decisions([attrs.evolve(given, query=Query("Hi", user="eve", tenant="acme"))])
        store.add_attempts([Attempt("new", error="gone", first_token_ms=3.0)])
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute(f"SELECT {columns} FROM entries ORDER BY position IS NULL, position, n").fetchall()
        indexes = [plan[-1] for plan in connection.execute("EXPLAIN QUERY PLAN SELECT id FROM entries WHERE user_id = 'ann'")]
        fingerprints = connection.execute("SELECT count(*) FROM entries WHERE fingerprint IS NOT NULL").fetchone()
    nothing = (None,) * 4
    assert found[:6] == [
        ("ann", None, None, 0.25, None, None, *nothing, None),
        ("bob", None, None, 0.25, None, None, *nothing, None),
        (*nothing, None, 0, "error", None, None, None, None),
        (*nothing, None, 1, "ok", 0.25, "given", 20.0, 7),
        (*nothing, None, 2, "ok", 0.5, "given", None, None),
        (*nothing, 1.0, None, *nothing, None),
    ]
    assert found[8:10] == [("eve", "acme", "task", None, None, None, *nothing, None), (*nothing, None, 0, "error", None, None, None, None)]
    assert "entries_by_user" in indexes[0]
    assert fingerprints == (1,)


def test_who_was_forgotten_leaves_no_bytes_in_the_file(tmp_path: Path) -> None:
    def bytes_of_the_log() -> bytes:
        return b"".join(file.read_bytes() for file in tmp_path.iterdir())

    with closing(SqliteStore(f"sqlite:{tmp_path / 'log.db'}", SqliteOptions(store_text=True))) as store:
        given = Records([Decision("d", POOL.names[0], 1.0, Preference())], make_request(make_dataset(1)))
        asked = attrs.evolve(given[0], query=Query("a very private question", user="ann-from-accounting"))
        store.add_decisions([asked])
        assert b"ann-from-accounting" in bytes_of_the_log()
        assert store.forget("ann-from-accounting") == 1
        assert b"ann-from-accounting" not in bytes_of_the_log()
        assert b"a very private question" not in bytes_of_the_log()


def test_who_is_forgotten_while_somebody_reads_is_said_to_be_left_and_holds_nobody_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "log.db"
    with closing(open_log(path)) as store, closing(sqlite3.connect(path)) as reader:
        given = Records([Decision("d", POOL.names[0], 1.0, Preference())], make_request(make_dataset(1)))
        store.add_decisions([attrs.evolve(given[0], query=Query("", user="ann-from-accounting"))])
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM entries").fetchone()
        began = time.monotonic()
        assert store.forget("ann-from-accounting") == 1
        assert time.monotonic() - began < 15  # not the 30 seconds that a writer waits
        assert f"still in {path}-wal" in caplog.text
        reader.execute("ROLLBACK")
        store.forget("ann-from-accounting")
        assert b"ann-from-accounting" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    path.write_bytes(b"these are my notes, not a database " * 100)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"log\.db.*left as it is"):
        open_log(path)
    assert before == path.read_bytes()


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mine (x)")
    with pytest.raises(StoreError, match="something else"):
        open_log(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("mine",)]


def test_a_log_whose_pages_are_damaged_says_so(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with closing(open_log(path)) as store:
        store.add_feedback([(Feedback(decision_id="d", quality=1.0), None)])
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    with closing(open_log(path)) as store, pytest.raises(StoreError, match=r"log\.db.*damaged"):
        store.pending()


def test_a_log_without_a_path_that_must_exist_is_refused() -> None:
    with pytest.raises(StoreError, match="needs its path"):
        open_store("sqlite:", PLUGINS, existing=True)


@pytest.mark.parametrize("name", ["missing/log.db", "file/log.db", ""])
def test_a_path_that_cannot_be_written_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StoreError, match=r"choose another path|needs its path"):
        SqliteStore(f"sqlite:{tmp_path / name}" if name else "sqlite:", SqliteOptions())


FILLER = """
import resource, signal, sys
from aamc_sdk.errors import StoreAwayError, StoreError
from aamc_sdk.log.sqlite.store import SqliteOptions
from aamc_sdk.log.sqlite.store import SqliteStore
from aamc_sdk.types import Attempt, Feedback
store = SqliteStore("sqlite:" + sys.argv[1], SqliteOptions())
store.add_feedback([(Feedback(decision_id="kept", quality=1.0), None)])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    store.add_attempts([Attempt("lost", error="x" * 200_000)])
except StoreError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.add_feedback([(Feedback(decision_id="later", quality=1.0), None)])
print([feedback.decision_id for feedback in store.pending()])
store.close()
"""


def test_a_full_disk_refuses_the_write_and_no_other(tmp_path: Path) -> None:
    """A limit on file sizes stands for the full disk: the same failed write, seen by SQLite."""
    result = subprocess.run([sys.executable, "-c", FILLER, str(tmp_path / "log.db")], capture_output=True, text=True, check=True)
    refusal, kept = result.stdout.splitlines()
    assert "log.db cannot be used" in refusal
    assert "its disk is full or failing" in refusal
    assert kept == "['kept', 'later']"


def test_a_log_on_a_full_disk_says_what_is_full(tmp_path: Path) -> None:
    """SQLite's limit on a file's pages gives the error of a disk that refuses a page."""
    with closing(SqliteStore(f"sqlite:{tmp_path / 'log.db'}", SqliteOptions())) as store:
        store._connection.execute("PRAGMA max_page_count = 1")
        with pytest.raises(StoreAwayError, match=r"log\.db cannot be used \(database or disk is full\): its disk is full.*free some space"):
            store.add_attempts([Attempt("a", error="x" * 200_000)])
