"""Checks of durability, learned states, forgetting and retention."""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from aamc_sdk.errors import AamcError, StoreError, UnknownDecisionError
from aamc_sdk.interfaces import Store
from aamc_sdk.log import MAX_SNAPSHOTS
from aamc_sdk.testing.checks.stores.logs import ID, empty_store, has_option, ids, new_url, open_log, records, whole_log, with_decision, with_query
from aamc_sdk.testing.findings import checks_in, must_raise, require, skip
from aamc_sdk.testing.subject import Subject
from aamc_sdk.types import Attempt, Feedback, Snapshot, StateDelta


def check_the_newest_snapshot_is_kept(subject: Subject) -> None:
    """``put_snapshot`` replaces an older snapshot and no newer one; a store may keep none."""
    with empty_store(subject) as store:
        store.put_snapshot("kit", Snapshot(5, b"five", last="x"))
        if store.snapshot("kit") is None:
            skip("it keeps no snapshots (snapshot returns None after put_snapshot): a restart learns the whole log again")
        for position, content in ((4, b"older"), (5, b"as new")):
            store.put_snapshot("kit", Snapshot(position, content))
            require(store.snapshot("kit") == Snapshot(5, b"five", last="x"), "a snapshot must stay until a newer one comes")
        store.put_snapshot("kit", Snapshot(6, b"six"))
        require(store.snapshot("kit") == Snapshot(6, b"six"), "a newer snapshot must replace an older one")


def check_few_snapshots_are_kept(subject: Subject) -> None:
    """A log keeps the snapshots of the last names, so that it does not grow with each router that was ever served from it."""
    with empty_store(subject) as store:
        for n in range(MAX_SNAPSHOTS + 1):
            store.put_snapshot(f"kit-{n}", Snapshot(5, b"five"))
        if store.snapshot(f"kit-{MAX_SNAPSHOTS}") is None:
            skip("it keeps no snapshots (snapshot returns None after put_snapshot)")
        kept = [n for n in range(MAX_SNAPSHOTS + 1) if store.snapshot(f"kit-{n}") is not None]
        limit = f"of more than {MAX_SNAPSHOTS} snapshots (aamc_sdk.log.MAX_SNAPSHOTS) those written longest ago must go"
        require(kept == list(range(1, MAX_SNAPSHOTS + 1)), f"{limit}; of {MAX_SNAPSHOTS + 1} the log keeps the numbers {kept}")


def check_deltas_are_a_chain(subject: Subject) -> None:
    """``put_delta`` takes only the next delta, ``deltas`` gives all that follow a state, and a snapshot ends them; a store may keep none."""
    with empty_store(subject) as store:
        store.put_snapshot("kit", Snapshot(2, b"whole"))
        first, second = StateDelta(2, 3, b"first", last="x"), StateDelta(3, 6, b"second")
        if store.snapshot("kit") is None or not store.put_delta("kit", first):
            require(store.deltas("kit", 2, 0) is None, "a store that keeps no deltas must return None for them")
            skip("it keeps no deltas (put_delta returns False)")
        require(not store.put_delta("kit", first), "a delta that arrives twice must be refused")
        require(not store.put_delta("kit", StateDelta(5, 7, b"")), "a delta on a state that is not the newest must be refused")
        require(not store.put_delta("kit", StateDelta(3, 6, b"", epoch=1)), "a delta of another epoch must be refused")
        require(store.put_delta("kit", second), "the next delta must be kept")
        for after, expected in ((2, [first, second]), (3, [second]), (6, [])):
            found = store.deltas("kit", after, 0)
            require(found is not None and list(found) == expected, f"the deltas after {after} must be {expected}, not {found}")
        require(store.deltas("kit", 4, 0) is None and store.deltas("kit", 2, 1) is None, "deltas must be None where nothing continues from the state")
        store.put_snapshot("kit", Snapshot(6, b"whole again"))
        require(store.deltas("kit", 2, 0) is None, "a full snapshot must end the deltas before it")
        require(list(store.deltas("kit", 6, 0) or ()) == [], "no delta continues from the newest state")
        for delta in (StateDelta(6, 9, b"third"), StateDelta(9, 12, b"fourth")):
            store.put_delta("kit", delta)
        store.put_snapshot("kit", Snapshot(8, b"between two deltas"))
        whole = store.snapshot("kit")
        require(whole is not None and whole.position == 6, "a full snapshot that is older than the deltas and apart from them must be left out")
        require(len(store.deltas("kit", 6, 0) or ()) == 2, "the deltas must lead on to the newest state")
        store.put_snapshot("kit", Snapshot(9, b"where a delta continues"))
        require(len(store.deltas("kit", 9, 0) or ()) == 1, "a full snapshot from which a delta continues must keep that one")
        store.put_snapshot("kit", Snapshot(13, b"newer than all deltas"))
        require(store.deltas("kit", 12, 0) is None, "a full snapshot that is newer than the deltas must end all of them")
        require(store.put_delta("kit", StateDelta(13, 14, b"fifth")), "the next delta must lead on from the full snapshot")


def check_forgetting_erases_what_was_logged(subject: Subject) -> None:
    """``forget`` erases a user's decisions and no others, drops the snapshots, which were learned from them, and begins a new epoch."""
    options = {"store_text": True} if has_option(subject, "store_text") else {}
    with empty_store(subject, **options) as store:
        store.add_decisions([with_query(each, user=f"user-{n}", session="s") for n, each in enumerate(records(2))])
        store.put_snapshot("kit", Snapshot(store.position(), b"learned"))
        before, kept = store.experience().epoch, store.record("decision-1").query
        erased = _forget(store, "user-0")
        require(erased == 1, f"forget must return the number of erased decisions, 1, not {erased}")
        found = store.record(ID)
        left = [name for name in ("text", "user", "session") if getattr(found.query, name)]
        left += ["embedding"] if found.estimates.embedding is not None else []
        require(not left, f"forget must erase the decision's {', '.join(left)}")
        require(store.record("decision-1").query == kept, "forget must leave other users' decisions")
        require(store.snapshot("kit") is None, "forget must drop the snapshots: they were learned from the erased decisions")
        require(store.experience().epoch > before, "forget must begin a new epoch, so that routers learn the log again")
        store.put_snapshot("kit", Snapshot(store.position(), b"learned", epoch=before))
        require(store.snapshot("kit") is None, "put_snapshot must leave out a snapshot of an earlier epoch: it was learned from the erased decisions")


def check_forgetting_leaves_no_bytes(subject: Subject) -> None:
    """After ``forget`` the user's name and text are in no file of the store any more, such as in earlier lines of a file that only grows."""
    text, user = "what-was-asked", "who-asked"
    options = {"store_text": True} if has_option(subject, "store_text") else {}
    with new_url(subject) as url, closing(open_log(subject, url, **options)) as store:
        store.add_decisions([with_query(each, text=text, user=user) for each in records(1)])
        file = _file_of(url)
        _forget(store, user)
        contents = {path.name: path.read_bytes() for path in file.parent.rglob("*") if path.is_file()}
        left = sorted(name for name, content in contents.items() if text.encode() in content or user.encode() in content)
        require(not left, f"forget must leave nothing of the user in the store's files: {', '.join(left)} still has the name or the text")


def _file_of(url: str) -> Path:
    """Return the file of a log; the check is skipped for a log elsewhere."""
    file = Path(url.partition(":")[2].partition("?")[0])
    if not file.is_file():
        skip("it keeps its log in no file of the kit's folder")
    return file


def _forget(store: Store, user: str) -> int:
    """Forget a user; the check is skipped where the store cannot."""
    try:
        return store.forget(user)
    except StoreError as error:
        skip(str(error))


def check_a_forgotten_user_stays_forgotten(subject: Subject) -> None:
    """A decision of before ``forget`` that comes later is erased as it is written; a store that cannot forget says so."""
    with empty_store(subject) as store:
        (given,) = records(1)
        early = with_query(with_decision(given, time=time.time() - 60.0), user="ann")
        _forget(store, "ann")
        store.add_decisions([early])
        require(store.record(ID).query.user is None, "a decision that its user made before being forgotten must be erased as it is written")
        later = with_decision(early, id="decision-1", time=time.time() + 60.0)
        store.add_decisions([later])
        require(store.record("decision-1").query.user == "ann", "a user who comes back later is a new user")
        _forget(store, "ann")
        store.add_decisions([with_decision(later, id="copy")])
        require(store.record("copy").query.user is None, "a decision whose time was ahead of the clock must be erased in a copy that comes later too")


def check_forgetting_is_durable(subject: Subject) -> None:
    """A store that opens the log after ``forget`` erases the user's late decisions too, and continues the epoch that ``forget`` began."""
    _skip_unless_persistent(subject)
    with new_url(subject) as url:
        with closing(open_log(subject, url)) as store:
            store.add_decisions([with_query(each, user="ann") for each in records(1)])
            _forget(store, "ann")
            known, epoch = set(store.forgotten(["ann", "ben"])), store.experience().epoch
            require(known == {"ann"}, f"forgotten must return the forgotten user alone, not {sorted(known)}: what is kept elsewhere is erased by it")
        with closing(open_log(subject, url)) as again:
            late = with_query(with_decision(records(1)[0], id="late", time=time.time() - 60.0), user="ann")
            again.add_decisions([late])
            advice = "write the user's digest and the epoch in the transaction that erases the decisions"
            opened = "in a log that was closed and opened again after forget,"
            require(again.record("late").query.user is None, f"{opened} a late decision of the user must be erased as it is written: {advice}")
            require(set(again.forgotten(["ann", "ben"])) == known, f"{opened} forgotten must know the user: {advice}")
            require(again.experience().epoch == epoch, f"{opened} the epoch must be {epoch}, not {again.experience().epoch}: {advice}")


def check_retention_drops_whole_decisions_that_were_learned(subject: Subject) -> None:
    """``retain`` drops the oldest decisions with all their entries once snapshots cover them; the remaining ones are read as before."""
    if not has_option(subject, "retention"):
        skip("it has no option retention")
    with empty_store(subject, retention={"max_gb": 1e-6}) as store:
        for n in range(4):
            store.add_decisions(records(1, n))
        if not store.partitions():
            skip("it does not divide its log (partitions is empty)")
        store.add_feedback([(Feedback(decision_id=ID, quality=0.5), None)])
        store.put_snapshot("kit", Snapshot(store.experience().position - 1, b"without the feedback"))
        require(store.retain() == 0, "a decision whose feedback a router has not learned must stay")
        position = store.experience().position
        store.put_snapshot("kit", Snapshot(position, b"whole"))
        dropped = store.retain()
        require(0 < dropped < 4, f"of four partitions beyond the limit all but the newest must go, not {dropped} decisions")
        must_raise(UnknownDecisionError, lambda: store.record(ID), "record of a decision that was dropped")
        start = store.experience(position - 1).start
        require(start == position, f"experience must give the position of the last dropped entry, here late feedback, {position} and not {start}")
        left = [f"decision-{n}" for n in range(dropped, 4)]
        require(ids(whole_log(store, 1)) == (left, [], []), "a decision must go with all its entries, and the others must stay")
        require(sum(each.decisions for each in store.aggregates()) == dropped, "aggregates must count the decisions that were dropped")
        store.add_decisions(records(1, 4))
        found = store.experience(position)
        require([decision.id for decision in found.decisions] == ["decision-4"], "positions must ascend although entries were dropped")
        store.put_snapshot("kit", Snapshot(found.position, b"newer"))
        store.forget("ann")
        require(store.snapshot("kit") == Snapshot(position, b"whole"), "forget must leave the snapshot that covers what was dropped")


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
    """Entries are durable when a write returns: a second store of the same URL, or of a copy, reads them before the first is closed and after."""
    _skip_unless_persistent(subject)
    with new_url(subject) as url, tempfile.TemporaryDirectory() as folder:
        with closing(open_log(subject, url)) as store:
            store.add_decisions(records(2))
            store.add_attempts([Attempt(ID, 0)])
            store.add_feedback([(Feedback(decision_id=ID, quality=1.0), None), (Feedback(decision_id="early", quality=1.0), None)])
            store.put_snapshot("kit", Snapshot(store.position(), b"learned"))
            expected = _state(store)
            second = _second_store(subject, url, Path(folder))
            if isinstance(second, Store):
                with closing(second):
                    _require_state(second, expected, "opened, or copied and opened, while the store that wrote it is open")
        with closing(open_log(subject, url)) as again:
            _require_state(again, expected, "closed and opened again")
        if not isinstance(second, Store):
            skip(f"its entries are there after close; before, only one process may open it: {second}")


def check_two_stores_of_one_log_share_it(subject: Subject) -> None:
    """A log that is open may be opened again, as a command does beside a server: both follow its rules together. Or the second open is refused."""
    _skip_unless_persistent(subject)
    with new_url(subject) as url, closing(open_log(subject, url)) as first:
        try:
            second = open_log(subject, url)
        except StoreError:
            return
        with closing(second):
            first.add_decisions(records(1))
            other = with_query(records(1)[0], session="another")
            must_raise(StoreError, lambda: second.add_decisions([other]), "another request under an id that another store of the log has written")
            second.add_decisions(records(1, 1))
            advice = "read what others have written under the lock of the write, or lock the file and refuse the second open with a StoreError"
            for store in (first, second):
                found = ids(whole_log(store, 100))[0]
                require(found == [ID, "decision-1"], f"each store of a log must read the decisions of all, in one order, not {found}: {advice}")


def _skip_unless_persistent(subject: Subject) -> None:
    if not subject.target.persistent:
        skip("persistent is False: its log ends with the process")


def _second_store(subject: Subject, url: str, folder: Path) -> Store | AamcError:
    """Open a log that is open or, where that is refused, a copy of its files, which are those that a crash would leave; or return the error."""
    try:
        return open_log(subject, url)
    except AamcError as error:
        written = Path(url.partition(":")[2].partition("?")[0]).parent
        if Path(tempfile.gettempdir()) not in written.parents:  # a server's, or of a test_url of its own
            return error
        shutil.copytree(written, folder, dirs_exist_ok=True)
    try:
        return open_log(subject, url.replace(str(written), str(folder)))
    except AamcError as error:  # such as a lock file that names the process
        return error


def _state(store: Store) -> tuple[Any, ...]:
    return (*ids(whole_log(store, 100)), list(store.pending()), store.snapshot("kit"))


def _require_state(store: Store, expected: tuple[Any, ...], when: str) -> None:
    names = ("decisions", "feedback", "attempts", "pending feedback", "the snapshot")
    lost = [name for name, before, after in zip(names, expected, _state(store), strict=True) if before != after]
    advice = "make each write durable before it returns, or set persistent = False if the log ends with its process"
    require(not lost, f"{', '.join(lost)} differ in a log that was {when}: {advice}")


def check_files_that_are_not_logs_are_refused(subject: Subject) -> None:
    """A store in a file says whether the file is there, and refuses one that is not a log with a StoreError, and leaves it as it was."""
    with new_url(subject) as url:
        with closing(open_log(subject, url)) as store:
            store.add_decisions(records(1))
        file, noise = _file_of(url), bytes(range(256))
        require(subject.target.exists(url), "exists must return True for a log that is there")
        missing = f"{subject.name}:{file.with_name('missing')}"
        require(not subject.target.exists(missing), "exists must return False for a missing file, so that a wrong path is refused")
        file.write_bytes(noise)
        must_raise(StoreError, lambda: open_log(subject, url).close(), "opening a file that is not a log")
        require(file.read_bytes() == noise, "a file that is not a log must stay as it was")


CHECKS = checks_in(__name__)
