"""Exported logs: reports, estimates and training read them as they read the store; forgetting reaches them."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aamc_datasets.log import LogFormat
from aamc_datasets.parquet_files import read_rows
from aamc_experiments.off_policy import OUTCOME_COLUMNS, read_outcome_columns

from aamc_sdk import MetaController, Query
from aamc_sdk.errors import ConfigError, StoreError
from aamc_sdk.interfaces import NoOptions, Store
from aamc_sdk.log import RowStore, open_store
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.testing import POOL, assert_conforms, check_component, run_command
from aamc_sdk.types import Attempt, Feedback

DAY = 86400.0


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RowStore]:
    """Return a log of two days and two tenants, with a partition for each day."""
    monkeypatch.chdir(tmp_path)
    with MetaController.build(router="epsilon-greedy", pool=POOL, store="sqlite:log.db?store_text=true", seed=0) as controller:
        for day in range(2):
            monkeypatch.setattr("time.time", lambda day=day: 1_000_000_000 + day * DAY)
            made = [controller.route(Query(f"Question {n}", user=f"user-{n % 3}", tenant=f"t{n % 2}")) for n in range(12)]
            controller.store.add_attempts([Attempt(each.id, 0, each.candidate, 0.5, 20.0) for each in made[:9]])
            for n, each in enumerate(made[:8]):
                controller.feedback(each.id, quality=n / 8)
        (first, *_) = controller.store.experience().decisions
        controller.feedback(first.id, quality=1.0, revision=1)  # in the second partition's time, on a decision of the first
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    with closing(opened("sqlite:log.db")) as store:
        assert isinstance(store, RowStore)
        assert len(store.partitions()) == 2
        yield store


def opened(url: str) -> Store:
    return open_store(url, get_plugin_manager(), existing=True)


def export(*options: str) -> dict[str, Any]:
    status, out, err = run_command("feedback", "export", "--format", "parquet", "out", "--store", "sqlite:log.db", "--json", *options)
    assert status == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def same(left: Any, right: Any) -> bool:
    if isinstance(left, np.ndarray):
        return bool(np.array_equal(left, right, equal_nan=left.dtype.kind == "f"))
    return list(left) == list(right) if left is not None else right is None


def test_an_export_has_the_entries_of_the_log_a_file_for_each_partition(log) -> None:
    found = export()
    assert [Path(file).name for file in found["files"]] == ["partition-000000.parquet", "partition-000001.parquet"]
    with closing(opened("parquet:out")) as copy:
        assert isinstance(copy, RowStore)
        assert copy.batch(0, 1000).rows == log.batch(0, 1000).rows
        assert found["entries"] == len(log.batch(0, 1000).rows)
        ours, theirs = (read_outcome_columns(store, OUTCOME_COLUMNS) for store in (log, copy))
        for name in OUTCOME_COLUMNS:
            assert same(ours[name], theirs[name]), name
        assert same(ours.outcomes.quality, theirs.outcomes.quality)
    decisions = {row.id for _, row in read_rows(Path(found["files"][0])) if row.kind == "decision"}
    assert all(row.decision_id in decisions for _, row in read_rows(Path(found["files"][0])))


def test_estimates_and_training_read_an_export_as_they_read_the_store(log) -> None:
    export()
    found = [
        json.loads(run_command("evaluate", "--logs", url, "--routers", "epsilon-greedy", "--json")[1]) for url in ("sqlite:log.db", "parquet:out")
    ]
    assert found[0] | {"log": ""} == found[1] | {"log": ""}
    read = [LogFormat(NoOptions(), None).read(url) for url in ("sqlite:log.db", "parquet:out")]
    assert read[0].queries == read[1].queries
    assert same(read[0].outcomes.quality, read[1].outcomes.quality)


def test_a_tenant_or_a_range_is_exported_to_one_file(log) -> None:
    (file,) = export("--tenant", "t0")["files"]
    assert re.fullmatch(r"log-tenant-[0-9a-f]{16}\.parquet", Path(file).name)
    with closing(opened("parquet:out")) as copy:
        assert {record.query.tenant for record in copy.experience().records} == {"t0"}
    (file,) = export("--since", "2001-09-10T00:00:00Z")["files"]
    assert Path(file).name == "log-since-20010910T000000Z.parquet"
    with closing(opened(f"parquet:{file}")) as copy:
        assert len(copy.experience().decisions) == 12


@pytest.mark.parametrize("tenant", ["é" * 200, "x" * 300])
def test_a_tenant_of_a_long_name_is_exported_to_a_file_of_its_own(log, tenant: str) -> None:
    records = log.experience().records[:2]
    for record, name in zip(records, (tenant, f"{tenant}!"), strict=True):
        decision, query = attrs.evolve(record.decision, id=f"of {name}"), attrs.evolve(record.query, tenant=name)
        log.add_decisions([attrs.evolve(record, decision=decision, query=query, fingerprint="")])
    files = [export("--tenant", name)["files"] for name in (tenant, f"{tenant}!")]
    assert files[0] != files[1]
    with closing(opened(f"parquet:{files[0][0]}")) as copy:
        assert [record.query.tenant for record in copy.experience().records] == [tenant]


def names_user_1(files: list[str]) -> bool:
    return any("user-1" in repr(row) for file in files for _, row in read_rows(Path(file)))


def test_forgetting_a_user_erases_the_exports_too(log, caplog) -> None:
    files = export()["files"]
    assert names_user_1(files)
    assert run_command("feedback", "forget", "--user", "user-1", "--store", "sqlite:log.db")[0] == 0
    assert not names_user_1(files)
    with closing(opened("parquet:out")) as copy:
        assert copy.batch(0, 1000).rows == log.batch(0, 1000).rows
        assert {record.query.user for record in copy.experience().records} == {"user-0", "user-2", None}
    Path(files[0]).write_text("something else")
    with caplog.at_level(logging.WARNING), closing(opened("sqlite:log.db")) as store:
        store.forget("user-2")
    assert f"the export {files[0]} could not be erased" in caplog.text


def test_forgetting_a_tenant_erases_its_users_texts_and_name(log) -> None:
    export()
    export("--tenant", "t1")
    status, out, err = run_command("feedback", "forget", "--tenant", "t1", "--store", "sqlite:log.db", "--json")
    assert status == 0, err
    assert json.loads(out) == {"schema": 1, "user": None, "tenant": "t1", "decisions": 12, "exports_not_erased": []}
    for url in ("sqlite:log.db", "parquet:out"):
        with closing(opened(url)) as store:
            found = [(record.query.tenant, record.query.user, record.query.text) for record in store.experience().records]
        assert {each[0] for each in found} == {"t0", None}
        assert {each[1:] for each in found if each[0] is None} == {(None, "")}
    assert b"t1" not in b"".join(bytes(row.content, "utf-8") for row in log.batch(0, 1000).rows)
    assert "t1" not in "".join(file.name for file in Path("out").iterdir())


def test_a_user_is_forgotten_within_a_tenant(log) -> None:
    assert log.forget("user-1", "t1") == 4
    left = [(record.query.tenant, record.query.user) for record in log.experience().records]
    assert ("t0", "user-1") in left
    assert ("t1", "user-1") not in left
    assert log.forgotten(["user-1", "t1\0user-1", "t0\0user-1"]) == {"t1\0user-1"}


def test_a_decision_of_a_forgotten_tenant_that_comes_later_is_erased_as_it_is_written(log) -> None:
    late = log.record(log.outcomes().decision_ids[1])
    log.forget(None, "t1")
    again = attrs.evolve(late, decision=attrs.evolve(late.decision, id="late"), fingerprint="")
    log.add_decisions([again])
    assert (log.record("late").query.tenant, log.record("late").query.user) == (None, None)


def test_an_export_is_only_read(log) -> None:
    export()
    with closing(opened("parquet:out")) as copy:
        for write in (lambda: copy.add_feedback([(Feedback(decision_id="d", quality=1.0), None)]), lambda: copy.forget("ann")):
            with pytest.raises(StoreError, match="parquet:out is an export of a log and is only read: name the log itself"):
                write()


@pytest.mark.parametrize("option", ["retention", "durability", "on_store_failure"])
def test_an_option_of_writing_is_refused(log, option: str) -> None:
    export()
    with pytest.raises(ConfigError, match=f"store parquet has no option '{option}'"):
        opened(f"parquet:out?{option}=x")


@pytest.mark.parametrize("url", ["parquet:", "parquet:missing", "parquet:."])
def test_a_folder_without_an_export_is_refused(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match="there is no export"):
        opened(url)


def test_the_kit_skips_what_it_would_write() -> None:
    assert_conforms("store", "parquet", get_plugin_manager())
    reasons = {finding.message for finding in check_component("store", "parquet", get_plugin_manager()) if finding.skipped}
    assert "an export is only read" in reasons


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        (
            "kind",
            ["decisiom"],
            r"000\.parquet is damaged: its entry 'decisiom/\w+' is on no decision of the file; delete it, and export the log again",
        ),
        ("decision_id", ["other"], r"000\.parquet is damaged: its entry 'attempt/\w+/.*' is on no decision of the file"),
        ("position", [None], r"000\.parquet is damaged: its column position lacks values"),
        ("time", ["noon"], r"cannot read .*000\.parquet as an export of a log: Failed to parse string: 'noon'"),
        ("content", ["[]"], r"entry '\w+' is damaged"),
        ("embedding", [b"ab"], r"entry '\w+' is damaged \(buffer size"),
    ],
)
def test_a_value_that_cannot_be_in_an_export_is_an_error_that_names_the_file_or_the_entry(log, column: str, values: list[Any], message: str) -> None:
    file = export()["files"][0]
    table = pq.read_table(file)
    text = pa.array(values * len(table)) if column != "content" else pa.array([*values, *table[column].to_pylist()[1:]])
    pq.write_table(table.set_column(table.schema.get_field_index(column), column, text), file)
    status, _, err = run_command("evaluate", "--logs", "parquet:out", "--routers", "random")
    assert status == 1
    assert re.search(message, " ".join(err.split()))
    assert "a bug" not in err


def test_an_export_that_another_program_has_written_again_is_read(log) -> None:
    file = export()["files"][0]
    table = pq.read_table(file)
    large = [(each.name, pa.large_string() if each.type == pa.string() else each.type) for each in table.schema]
    pq.write_table(table.cast(pa.schema(large)), file)
    with closing(opened("parquet:out")) as copy:
        assert copy.batch(0, 1000).rows == log.batch(0, 1000).rows
