"""Checks of logs that are closed, opened again, or no logs."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from aamc_sdk.errors import AamcError, StoreError
from aamc_sdk.interfaces import Store
from aamc_sdk.log import open_store
from aamc_sdk.testing.checks.stores.logs import ID, empty_store, ids, new_url, records, whole_log
from aamc_sdk.testing.findings import checks_in, must_raise, require, skip
from aamc_sdk.testing.subject import Subject
from aamc_sdk.types import Attempt, Feedback, Snapshot


def check_a_closed_store_takes_no_entries(subject: Subject) -> None:
    """Writes after ``close`` are refused, since nothing would make them durable; a second ``close`` is harmless."""
    with empty_store(subject) as store:
        store.add_decisions(records(1))
        store.close()
        store.close()
        must_raise(StoreError, lambda: store.add_decisions(records(1, 1)), "add_decisions after close")
        must_raise(StoreError, lambda: store.add_attempts([Attempt(ID)]), "add_attempts after close")
        must_raise(StoreError, lambda: store.add_feedback([(Feedback(decision_id=ID, quality=1.0), None)]), "add_feedback after close")


def check_entries_are_there_when_the_log_is_opened_again(subject: Subject) -> None:
    """Entries are durable when a write returns: a second store of the same URL reads them, before the first is closed and after."""
    if not subject.target.persistent:
        skip("persistent is False: its log ends with the process")
    with new_url(subject) as url:
        with closing(open_store(url, subject.plugins, subject.options)) as store:
            store.add_decisions(records(2))
            store.add_attempts([Attempt(ID, 0)])
            store.add_feedback([(Feedback(decision_id=ID, quality=1.0), None), (Feedback(decision_id="early", quality=1.0), None)])
            store.put_snapshot("kit", Snapshot(store.position(), b"learned"))
            expected = _state(store)
            try:
                second = open_store(url, subject.plugins, subject.options)
            except AamcError:  # only one process may open it
                pass
            else:
                with closing(second):
                    _require_state(second, expected, "opened while the store that wrote it is open")
        with closing(open_store(url, subject.plugins, subject.options)) as again:
            _require_state(again, expected, "closed and opened again")


def _state(store: Store) -> tuple[Any, ...]:
    return (*ids(whole_log(store, 100)), list(store.pending()), store.snapshot("kit"))


def _require_state(store: Store, expected: tuple[Any, ...], when: str) -> None:
    names = ("decisions", "feedback", "attempts", "pending feedback", "the snapshot")
    lost = [name for name, before, after in zip(names, expected, _state(store), strict=True) if before != after]
    advice = "make each write durable before it returns, or set persistent = False if the log ends with its process"
    require(not lost, f"{', '.join(lost)} differ in a log that was {when}: {advice}")


def check_files_that_are_no_log_are_refused(subject: Subject) -> None:
    """A store in a file says whether the file is there, and refuses one that is not a log with a StoreError, and leaves it as it was."""
    with new_url(subject) as url:
        with closing(open_store(url, subject.plugins, subject.options)) as store:
            store.add_decisions(records(1))
        file, noise = Path(url.partition(":")[2].partition("?")[0]), bytes(range(256))
        if not file.is_file():
            skip("it keeps its log in no file of the kit's folder")
        require(subject.target.exists(url), "exists must return True for a log that is there")
        missing = f"{subject.name}:{file.with_name('missing')}"
        require(not subject.target.exists(missing), "exists must return False for a missing file, so that a wrong path is refused")
        file.write_bytes(noise)
        must_raise(StoreError, lambda: open_store(url, subject.plugins, subject.options).close(), "opening a file that is not a log")
        require(file.read_bytes() == noise, "a file that is not a log must stay as it was")


CHECKS = checks_in(__name__)
