"""Reports on trials: they go on from the last one with the result of reading the whole log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from aamc_bandit.trials.trial_log import SNAPSHOT, TrialLog, continue_trials, read_trials

from aamc_sdk.log import RowStore, open_store
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.testing import POOL, make_dataset, make_request, run_command
from aamc_sdk.types import Attempt, Decision, Feedback, Preference, Query, Records, Snapshot

OLD, NEW, OTHER = POOL.names[:3]
DAY = 86400.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RowStore]:
    with closing(opened(tmp_path / "log.db")) as log:
        yield log


def opened(path: Path, **options: Any) -> RowStore:
    log = open_store(f"sqlite:{path}", get_plugin_manager(), options)
    assert isinstance(log, RowStore)
    return log


def note(kind: str, role: str | None = None) -> dict[str, Any]:
    probabilities = {"stable": {OLD: 0.75, NEW: 0.25}, "candidate": {OLD: 0.25, NEW: 0.75}}
    pair = {name: {"router": name, "version": "1", "probabilities": probabilities[name]} for name in ("stable", "candidate")}
    return {kind: {"share": 0.5, **pair, **({} if role is None else {"role": role})}}


def decide(log: RowStore, name: str, kind: str = "canary", role: str | None = None, user: str | None = None, time: float = 0.0) -> None:
    decision = Decision(name, NEW, 0.5, Preference(), {OLD: 0.5, NEW: 0.5}, time=time, notes=note(kind, role))
    log.add_decisions(list(Records([decision], attrs.evolve(make_request(make_dataset(1)), queries=[Query("", user=user)]))))


def judge(log: RowStore, name: str, quality: float, **fields: Any) -> None:
    log.add_feedback([(Feedback(decision_id=name, quality=quality, **fields), None)])


def described(found: TrialLog) -> list[Any]:
    return [(attrs.asdict(trial, recurse=False), trial.verdict()) for trial in found.trials]


def test_reports_that_go_on_equal_reports_that_read_the_whole_log(store) -> None:
    generator = np.random.default_rng(0)
    entries = 0
    for step in range(60):
        decide(store, f"d{step}", *[("canary", None), ("shadow", None), ("canary", "candidate")][step % 3], user=f"u{step % 5}")
        late = f"d{generator.integers(step + 1)}"  # of a decision that an earlier report has read
        if step % 4 == 0:
            store.add_attempts([Attempt(late, None, NEW, error="timeout"), Attempt(late, None, OTHER)])
        judge(store, late, float(generator.random()), source=f"judge {step % 2}", revision=step, candidate=NEW if step % 5 else OLD)
        if step % 6 == 5:
            found = continue_trials(store)
            entries += found.entries
            assert described(found) == described(read_trials(store))
    assert len(found.trials) == 2
    assert entries == found.position  # each entry was read once
    assert {reason for trial in found.trials for reason in trial.left_out} >= {"fallback", "user_counted"}


def test_after_a_user_is_forgotten_the_report_is_that_of_the_log_as_it_is_now(store) -> None:
    for number in range(6):
        decide(store, str(number), role="stable", user=f"u{number % 2}")
        judge(store, str(number), 0.5)
    assert continue_trials(store).trials[0].left_out == {"user_counted": 4}
    store.forget("u0")
    found = continue_trials(store)
    assert found.trials[0].left_out == {"user_forgotten": 3, "user_counted": 2}
    assert described(found) == described(read_trials(store))
    assert b"u1" not in found.saved().content  # digests only


def test_what_retention_dropped_stays_counted(tmp_path, monkeypatch) -> None:
    with closing(opened(tmp_path / "log.db")) as store:
        for day in range(4):
            monkeypatch.setattr("time.time", lambda day=day: 1_000_000_000 + day * DAY)
            for number in range(5):
                decide(store, f"{day}/{number}", role="stable" if number == 0 else None, user=f"u{day % 2}")
                judge(store, f"{day}/{number}", number / 4)
    monkeypatch.setattr("time.time", lambda: 1_000_000_000 + 4.5 * DAY)  # the last day is not over for a day
    with closing(opened(tmp_path / "log.db", retention={"days": 1})) as store:
        before = continue_trials(store)
        assert store.retain() == 15
        judge(store, "3/0", 1.0, source="late")
        found = continue_trials(store)
        assert described(found) == described(before)
        assert (found.start, found.entries) == (0, 1)
        missing = read_trials(store)
        assert missing.start > 0
        assert missing.trials[0].served["stable"] + missing.trials[0].served["candidate"] < 20
        store.forget("u0")
        after = continue_trials(store)
        assert described(after) == described(before)
        assert store.health()["floors_to_clean"] == 0


def test_another_log_under_the_same_name_and_damaged_statistics_are_read_from_the_start(store, tmp_path, caplog) -> None:
    for name in "abc":
        decide(store, name)
        judge(store, name, 1.0)
    kept = continue_trials(store)
    with closing(opened(tmp_path / "other.db")) as other:
        decide(other, "x")
        judge(other, "x", 0.0)
        other.put_snapshot(SNAPSHOT, attrs.evolve(kept.saved(), position=1))
        assert described(continue_trials(other)) == described(read_trials(other))
    store.put_snapshot(SNAPSHOT, Snapshot(kept.position + 1, b"damaged"))
    assert described(continue_trials(store)) == described(kept)
    assert "cannot be read" in caplog.text


def test_the_command_reads_a_range_and_says_what_it_read(store, tmp_path) -> None:
    for day in range(4):
        decide(store, str(day), time=1_000_000_000 + day * DAY)
        judge(store, str(day), 1.0)
    url = f"sqlite:{tmp_path / 'log.db'}"

    def report(*options: str) -> tuple[int, int]:
        status, out, err = run_command("canary", "--store", url, "--json", *options)
        assert status == 0, err
        found = json.loads(out)
        return found["entries_read"], found["trials"][0]["judged"]

    assert report("--since", "2001-09-10", "--until", "2001-09-11T23:00:00+00:00") == (8, 2)
    assert [report(), report(), report("--again")] == [(8, 4), (0, 4), (8, 4)]
    status, out, _ = run_command("canary", "--store", url)
    assert status == 0
    assert "The difference is a separate estimate" in out
    status, _, err = run_command("canary", "--store", url, "--since", "7d", "--until", "2001-09-10")
    assert status == 2
    assert "--since must be before --until" in err
    status, _, err = run_command("canary", "--store", url, "--since", "yesterday")
    assert status == 2
    assert "'yesterday' is neither a date or time" in err
