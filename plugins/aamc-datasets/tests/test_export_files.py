"""Exporting a log again, to a folder in use, from a log that changes meanwhile, and to a full disk."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import attrs
import pyarrow.parquet as pq
import pytest
from aamc_datasets.parquet_export import export_files
from aamc_datasets.parquet_files import ParquetWriter, read_decisions, read_rows
from aamc_datasets.parquet_log import ParquetStore

from aamc_sdk import MetaController, Query
from aamc_sdk.errors import OutputError, StoreError
from aamc_sdk.log import DECISION, Erasure, ExportedFile, MemoryStore, Row, Selection, SqliteStore, columns_of, open_store
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.testing import POOL, run_command
from aamc_sdk.types import Feedback

DAY = 86400.0
START = 1_000_000_000.0


@pytest.fixture
def days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., SqliteStore]]:
    """Log ten decisions a day, a partition each, whose feedback comes a day later; return the open log, which keeps 30 days."""
    monkeypatch.chdir(tmp_path)
    with ExitStack() as opened:

        def fill(name: str = "log", count: int = 3, start: float = START) -> SqliteStore:
            before: list[str] = []
            with MetaController.build(router="random", pool=POOL, store=f"sqlite:{name}.db", seed=0) as controller:
                for day in range(count):
                    monkeypatch.setattr("time.time", lambda day=day: start + day * DAY)
                    ids = [f"day {day} request {n}" for n in range(10)]
                    for n, each in enumerate(ids):
                        controller.route(Query("q", user=f"user {n}", tenant=f"tenant {n % 2}"), decision_id=each)
                    for each in before:
                        controller.feedback(each, quality=0.5)
                    before = ids
            store = open_store(f"sqlite:{name}.db?retention={{days: 30}}", get_plugin_manager(), existing=True)
            assert isinstance(store, SqliteStore)
            return opened.enter_context(closing(store))

        yield fill


def export(store: SqliteStore, selection: Selection = Selection(), folder: str = "out") -> Any:  # noqa: B008  # frozen
    return export_files(store, Path(folder), selection)


def decisions(folder: str = "out") -> dict[str, int]:
    """Return the number of decisions by file."""
    return {file.name: sum(1 for _ in read_decisions(file)) for file in sorted(Path(folder).iterdir())}


def drop_part(store: SqliteStore, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    """Drop some decisions of the oldest partition, and no more: retention was killed."""
    monkeypatch.setattr("time.time", lambda: START + 40 * DAY)
    monkeypatch.setattr("aamc_sdk.log.sqlite.store.DROPPED_AT_ONCE", at_once)
    oldest = store._oldest_to_drop()
    assert oldest is not None
    store._drop_part(oldest)


FILES = [f"partition-00000{n}.parquet" for n in range(3)]


def test_feedback_of_a_later_day_is_in_its_decisions_file(days) -> None:
    store = days()
    found = export(store)
    assert ([file.name for file in found.files], found.entries, found.kept) == (FILES, 50, [])
    rows = [(position, row) for file in found.files for position, row in read_rows(file)]
    assert sorted(rows, key=lambda placed: placed[0]) == list(store.placed())
    for n, file in enumerate(found.files):
        kinds = [row.kind for _, row in read_rows(file)]
        assert (kinds.count("decision"), kinds.count("feedback")) == (10, 0 if n == 2 else 10)
        assert {row.decision_id.split()[1] for _, row in read_rows(file)} == {str(n)}


@pytest.mark.parametrize("at_once", [4, 20])
def test_a_partition_that_retention_drops_keeps_its_complete_file(days, monkeypatch, at_once: int) -> None:
    store = days()
    export(store)
    drop_part(store, monkeypatch, at_once)
    found = export(store)
    assert decisions() == dict.fromkeys(FILES, 10)
    kept = FILES[:1] if at_once == 4 else []  # one that has gone whole is not a partition any more
    assert ([file.name for file in found.kept], [file.name for file in found.files]) == (kept, FILES[1:])


def test_a_partition_without_decisions_has_no_file(days, monkeypatch) -> None:
    store = days()
    store._begin_partition(3, START + 4 * DAY)
    monkeypatch.setattr("time.time", lambda: START + 10 * DAY)
    known = store.record("day 0 request 0")
    store.add_decisions([attrs.evolve(known, decision=attrs.evolve(known.decision, id="new"), fingerprint="")])
    assert [file.name for file in export(store).files] == [*FILES, "partition-000004.parquet"]


def test_the_command_says_which_file_it_kept(days, monkeypatch) -> None:
    store = days()
    export(store)
    drop_part(store, monkeypatch, 4)
    status, out, err = run_command("feedback", "export", "--format", "parquet", "out", "--store", "sqlite:log.db", "--json")
    assert status == 0, err
    assert [Path(file).name for file in json.loads(out)["kept"]] == FILES[:1]
    assert "partition-000000.parquet was kept as it is, since retention has dropped some of its decisions from the log." in err


def test_a_partition_that_goes_while_it_is_exported_keeps_its_file(days, monkeypatch) -> None:
    store = days()
    export(store)
    partitions = store.partitions()
    drop_part(store, monkeypatch, 20)
    with monkeypatch.context() as earlier:
        earlier.setattr(store, "partitions", lambda: partitions)
        assert [file.name for file in export(store).kept] == FILES[:1]
        assert decisions() == dict.fromkeys(FILES, 10)
        assert [file.name for file in export(store, folder="new").files] == FILES[1:]  # none of a partition that is not there
        assert decisions("new") == dict.fromkeys(FILES[1:], 10)


@pytest.fixture
def going(tmp_path, monkeypatch) -> Iterator[SqliteStore]:
    """Return a log of ten decisions with feedback of one day, some of which go as soon as an export has read the decisions."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("aamc_datasets.parquet_export.READ_AT_ONCE", 10)
    monkeypatch.setattr("aamc_sdk.log.row_store.READ_AT_ONCE", 10)
    with MetaController.build(router="random", pool=POOL, store="sqlite:log.db", seed=0) as controller:
        for day in range(2):
            monkeypatch.setattr("time.time", lambda day=day: START + day * DAY)
            made = [controller.route("q", decision_id=f"day {day} request {n}") for n in range(10)]
            controller.feedback_batch([Feedback(decision_id=each.id, quality=0.5) for each in made])
    read = SqliteStore.batch

    def read_and_drop(self, after: int = 0, limit: int = 1000):
        found = read(self, after, limit)
        if (after, limit) == (0, 10):
            monkeypatch.setattr(SqliteStore, "batch", read)
            drop_part(store, monkeypatch, 4)
        return found

    with closing(open_store("sqlite:log.db?retention={days: 30}", get_plugin_manager(), existing=True)) as store:
        assert isinstance(store, SqliteStore)
        monkeypatch.setattr(SqliteStore, "batch", read_and_drop)
        yield store


@pytest.mark.parametrize("exported", [False, True])
def test_decisions_that_go_while_they_are_exported_are_in_no_file_without_their_feedback(going, monkeypatch, exported: bool) -> None:
    if exported:
        with monkeypatch.context() as earlier:
            earlier.setattr("aamc_datasets.parquet_export.READ_AT_ONCE", 40)
            export(going)
    found = export(going)
    assert decisions() == dict(zip(FILES, [10 if exported else 6, 10], strict=False))
    assert [file.name for file in found.kept] == FILES[:exported]
    assert all(sum(row.kind == "feedback" for _, row in read_rows(Path("out") / name)) == count for name, count in decisions().items())


def test_an_export_as_lines_is_an_error_when_decisions_go_meanwhile(going) -> None:
    Path("lines.jsonl").write_text("earlier")
    status, _, err = run_command("feedback", "export", "lines.jsonl", "--store", "sqlite:log.db")
    assert status == 1
    assert "retention dropped decisions of the log sqlite:log.db during the export, so entries on them are missing: export again" in err
    assert Path("lines.jsonl").read_text() == "earlier"


def test_a_range_is_not_replaced_by_what_retention_has_left_of_it(days, monkeypatch) -> None:
    store = days()
    export(store, Selection(since=START))
    drop_part(store, monkeypatch, 4)
    with pytest.raises(StoreError, match=r"has decisions that are not in the log sqlite:log.db: retention has dropped them"):
        export(store, Selection(since=START))
    assert list(decisions().values()) == [30]


def test_forgetting_does_not_hinder_another_export(days, monkeypatch) -> None:
    store = days()
    export(store)
    export(store, Selection("tenant 1"))
    store.forget("user 3")
    store.forget(None, "tenant 1")
    assert len(export(store).files) == 3
    monkeypatch.setattr("time.time", lambda: START + 3 * DAY)
    with MetaController.build(router="random", pool=POOL, store="sqlite:log.db", seed=0) as controller:
        controller.route(Query("q", tenant="tenant 1"))  # a new tenant of that name
    assert export(store, Selection("tenant 1")).entries == 1


@pytest.mark.parametrize("count", [1, 3])
def test_a_file_of_another_log_is_not_replaced(days, count: int) -> None:
    one, two = days("one"), days("two", count, START + 7)  # the same ids, at other times
    export(one)
    why = "000000.parquet is an export of another log, sqlite:one.db, .* not replaced by one of sqlite:two.db; choose another folder"
    with pytest.raises(StoreError, match=why if count == 1 else "000002.parquet is an export of another log"):
        export(two)
    assert decisions() == dict.fromkeys(FILES, 10)
    assert list(two.exports()) == []  # forgetting a user there must not erase it
    with pytest.raises(StoreError, match="is an export of another log"):
        export(two)
    assert len(export(one).files) == 3


def test_a_file_of_another_tenant_of_that_name_is_not_replaced(days) -> None:
    one, two = days("one"), days("two", 3, START + 7)
    export(one, Selection("tenant 1"))
    with pytest.raises(StoreError, match=r"is an export of another log, sqlite:one.db"):
        export(two, Selection("tenant 1"))


def test_exports_of_two_logs_in_one_folder_are_not_read_as_one(days) -> None:
    for name in ("one", "two"):
        export(days(name, 1, START + len(name) * (name == "two")), folder=name)
    Path("two", FILES[0]).rename(Path("one", FILES[1]))
    with pytest.raises(StoreError, match=r"one has exports of several logs \(sqlite:one.db, sqlite:two.db\)"):
        open_store("parquet:one", get_plugin_manager(), existing=True)


def test_files_of_earlier_versions_are_read_and_compared_as_others(days) -> None:
    one, two = days("one"), days("two", 3, START + 7)
    for file in export(one).files:
        pq.write_table(pq.read_table(file).replace_schema_metadata({"aamc_log": "1"}), file)
    with pytest.raises(StoreError, match="is an export of another log, or of an earlier one of that name"):
        export(two)
    assert len(export(one).files) == 3
    with closing(open_store("parquet:out", get_plugin_manager(), existing=True)) as copy:
        assert isinstance(copy, MemoryStore)
        assert copy.batch(0, 1000).rows == one.batch(0, 1000).rows


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_a_tenant_that_the_log_does_not_have_is_an_error_and_no_file(days, form: str) -> None:
    days()
    Path("out.jsonl").write_text("before")
    target = "out" if form == "parquet" else "out.jsonl"
    status, _, err = run_command("feedback", "export", "--format", form, target, "--store", "sqlite:log.db", "--tenant", "tenent 1")
    assert status == 1
    assert "the log sqlite:log.db has no decisions of the tenant 'tenent 1'; nothing was exported" in err
    assert Path("out.jsonl").read_text() == "before"
    assert not list(Path().glob("out/*"))
    options = ("--tenant", "tenant 1", "--until", "2001-01-01", "--store", "sqlite:log.db")
    assert "no decisions of the tenant 'tenant 1' in that range of time" in run_command("feedback", "export", *options)[2]


def test_one_file_is_open_at_a_time_however_many_partitions_there_are(days) -> None:
    store = days("log", 30)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 20, limit[1]))
    try:
        assert len(export(store).files) == 30
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)


def test_a_full_disk_is_one_error_that_names_the_file_and_notes_no_other(days, monkeypatch) -> None:
    store = days()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(OutputError) as raised:
        export(store)
    file = Path("out", FILES[2]).resolve()
    assert str(raised.value) == f"cannot write {file}: No space left on device; free some space or choose another folder"
    assert list(store.exports()) == [ExportedFile(str(file), "parquet")]
    assert not list(Path("out").iterdir())


def test_a_disk_that_is_full_ends_the_command_with_one_line(days) -> None:
    days()
    code = """import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))
from aamc_sdk.log import *; from aamc_sdk.log.sqlite.store import *; from aamc_sdk.plugins import get_plugin_manager; from pathlib import Path
from aamc_datasets.parquet_export import export_files
store = open_store("sqlite:log.db?read_only=true", get_plugin_manager(), existing=True)
try:
    export_files(store, Path("out"), Selection())
except OSError as error:
    print(type(error).__name__, error)"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.startswith("OutputError cannot write ")
    assert "Exception ignored" not in ended.stderr
    assert "Traceback" not in ended.stderr


def leftover(target: Path) -> Path:
    """Make what a killed export of a file leaves."""
    target.parent.mkdir(exist_ok=True)
    file = target.with_name(f".{target.name}.a1b2_c3d")
    file.write_bytes(b"PAR1 user 3")
    return file


def test_the_next_export_removes_what_a_killed_one_left(days) -> None:
    store = days()
    left, others = leftover(Path("out", FILES[0])), leftover(Path("out", "partition-000009.parquet"))
    export(store)
    assert not left.exists()
    assert others.exists()


def test_forgetting_a_user_removes_what_a_killed_export_left(days) -> None:
    store = days()
    target = Path("out", FILES[0]).resolve()
    store.note_export(ExportedFile(str(target), "parquet"))
    left = leftover(target)
    store.forget("user 3")
    assert not left.exists()
    assert list(store.exports()) == []  # there is no such file


def test_a_deleted_export_is_forgotten_without_a_warning(days, caplog) -> None:
    store = days()
    files = export(store).files
    files[0].unlink()
    store.forget("user 3")
    assert (caplog.text, [Path(each.path) for each in store.exports()]) == ("", list(files[1:]))


def test_exports_on_a_disk_that_is_not_mounted_are_an_error_until_it_is(days) -> None:
    store = days("log", 1)
    (file,) = export(store).files
    Path("out").rename("unmounted")
    forget = ("feedback", "forget", "--user", "user 3", "--store", "sqlite:log.db", "--json")
    status, out, err = run_command(*forget)
    assert (status, json.loads(out)["decisions"], json.loads(out)["exports_not_erased"]) == (1, 1, [str(file)])
    assert "1 export could not be erased" in err
    Path("unmounted").rename("out")
    status, out, _ = run_command(*forget)
    assert (status, json.loads(out)["exports_not_erased"]) == (0, [])
    assert b"user 3" not in file.read_bytes()


def test_an_export_that_cannot_be_erased_is_an_error_and_stays_remembered(days, monkeypatch) -> None:
    store = days("log", 1)
    (file,) = export(store).files

    def refuse(path: Path, erasure: Erasure) -> int:
        raise OutputError(f"cannot write {path}: Operation not permitted")

    monkeypatch.setattr(ParquetStore, "erase", refuse)
    status, _, err = run_command("feedback", "forget", "--user", "user 3", "--store", "sqlite:log.db")
    assert (status, "1 decision erased.\n" in err) == (1, True)
    assert "1 export could not be erased" in err
    assert [each.path for each in store.exports()] == [str(file)]


def test_a_file_that_appears_while_a_user_is_forgotten_stays_remembered(days, monkeypatch) -> None:
    store = days("log", 1)
    noted = ExportedFile(str(Path("out", FILES[0]).resolve()), "parquet")
    store.note_export(noted)
    Path("out").mkdir()
    discard = store.discard_export
    monkeypatch.setattr(store, "discard_export", lambda each: (discard(each), Path(each.path).touch()))
    store.forget("user 3")
    assert list(store.exports()) == [noted]


def test_a_user_who_is_forgotten_while_a_file_is_written_is_not_in_it(days, monkeypatch) -> None:
    store = days()
    add, users = ParquetWriter.add, ["user 3", "user 4"]  # the second one while the file is written again

    def add_and_forget(writer: ParquetWriter, position: int, row: Row) -> None:
        if users:
            store.forget(users.pop(0))
        add(writer, position, row)

    monkeypatch.setattr(ParquetWriter, "add", add_and_forget)
    found = export(store)
    kept = {columns_of(row)["user_id"] for file in found.files for _, row in read_rows(file) if row.kind == DECISION}
    assert kept == {None, *(f"user {n}" for n in range(10) if n not in (3, 4))}
    assert [Path(each.path) for each in store.exports()] == found.files  # although there was no file to erase yet


def test_the_exports_of_a_log_are_asked_for_once_however_many_files_there_are(days, monkeypatch) -> None:
    store, asked = days("log", 5), []
    exports = store.exports
    monkeypatch.setattr(store, "exports", lambda: asked.append(1) or exports())
    assert len(export(store).files) == 5
    assert len(asked) == 1


def test_a_log_in_memory_is_exported_to_one_file(tmp_path) -> None:
    with MetaController.build(router="random", pool=POOL, store="memory:", seed=0) as controller:
        controller.route_batch(["q"] * 3)
        assert isinstance(controller.store, MemoryStore)
        for _ in range(2):
            found = export_files(controller.store, tmp_path, Selection())
            assert ([file.name for file in found.files], found.entries) == (["log.parquet"], 3)
