"""The kit passes a third party's store, and each broken store is caught by the check that is meant for it."""

import re
import shutil
import sqlite3
import tempfile
import threading
import time
import uuid
from collections import Counter
from contextlib import closing, contextmanager
from pathlib import Path
from typing import ClassVar

import attrs
import numpy as np
import pytest
from offering import failed

from aamc_sdk import option
from aamc_sdk.errors import ConfigError, PluginError, StoreError
from aamc_sdk.log import DECISION, Batch, Excerpt, MemoryStore, RowStore, SqliteStore, open_store, replaced_rows
from aamc_sdk.log.sqlite.partitions import Partitions
from aamc_sdk.testing import check_component


class Twice(MemoryStore):
    def add_feedback(self, feedback):
        super().add_feedback(feedback)
        return [True] * len(feedback)


class Mute(MemoryStore):
    def add_decisions(self, records):
        super().add_decisions(records)


class Impatient(MemoryStore):
    def pending(self):
        return []


class Backwards(MemoryStore):
    def experience(self, after=0, limit=1000):
        found = super().experience(after, limit)
        return attrs.evolve(found, decisions=list(found.decisions)[::-1], records=list(found.records)[::-1])


class Restarting(MemoryStore):
    """Names no entry before a batch."""

    def experience(self, after=0, limit=1000):
        return attrs.evolve(super().experience(after, limit), follows="")


class Plain(MemoryStore):
    """Keeps no embeddings."""

    def record(self, decision_id):
        found = super().record(decision_id)
        return attrs.evolve(found, estimates=attrs.evolve(found.estimates, embedding=None))


class Recalling(MemoryStore):
    """Keeps snapshots of earlier epochs."""

    def put_snapshot(self, name, snapshot):
        super().put_snapshot(name, attrs.evolve(snapshot, epoch=self.experience().epoch))


class Hoarding(MemoryStore):
    """Keeps the snapshot of every name."""

    def put_snapshot(self, name, snapshot):
        super().put_snapshot(name, snapshot)
        self.__dict__.setdefault("all", {})[name] = snapshot

    def snapshot(self, name):
        return super().snapshot(name) or (self.__dict__.get("all", {}).get(name) if name.startswith("kit-") else None)


class Journal(SqliteStore):
    """Also appends each user to a file."""

    def add_decisions(self, records):
        with Path(self.url.partition(":")[2]).with_name("journal.txt").open("a") as file:
            file.writelines(f"{record.query.user}\n" for record in records)
        return super().add_decisions(records)


class Mixed(MemoryStore):
    def experience(self, after=0, limit=1000):
        found = super().experience(after, limit)
        return attrs.evolve(found, records=list(found.records)[::-1])


class Forgetful(MemoryStore):
    def experience(self, after=0, limit=1000):
        return attrs.evolve(super().experience(after, limit), replaced=())


class Rerolled(MemoryStore):
    def add_decisions(self, records):
        super().add_decisions(records)
        return [record.decision for record in records]


class Certain(MemoryStore):
    def add_decisions(self, records):
        known = [np.nan_to_num(record.decision.propensity, nan=1.0) for record in records]
        decisions = [attrs.evolve(record.decision, propensity=propensity) for record, propensity in zip(records, known, strict=True)]
        super().add_decisions([attrs.evolve(record, decision=decision) for record, decision in zip(records, decisions, strict=True)])
        return [self.record(decision.id).decision for decision in decisions]


class Oldest(MemoryStore):
    def put_snapshot(self, name, snapshot):
        if self.snapshot(name) is None:
            super().put_snapshot(name, snapshot)


class Greedy(MemoryStore):
    def put_delta(self, name, delta):
        return super().put_delta(name, delta) or True


class Unforgiving(MemoryStore):
    def _erase(self, erasure, after, limit):
        erased = super()._erase(erasure, after, limit)
        self._log.forgotten.clear()
        return erased


class Hasty(SqliteStore):
    def _retain(self):
        return sum(self._drop_oldest() for _ in self.partitions()[1:])

    def _drop_oldest(self):
        return self._change(lambda connection: Partitions(connection).drop(Partitions(connection).all()[0], 10, time.time() + 1))


class Silent(SqliteStore):
    def experience(self, after=0, limit=1000):
        return attrs.evolve(super().experience(after, limit), start=0)


class Volatile(MemoryStore):
    """Never writes."""

    persistent = True


class Amnesic(SqliteStore):
    """Keeps the digests of forgotten users, and the epoch, in memory only."""

    def close(self):
        super().close()
        with closing(sqlite3.connect(self.url.partition(":")[2])) as connection, connection:
            connection.execute("DELETE FROM erasures")


class Discreet(SqliteStore):
    """Erases late decisions of forgotten users, and tells nobody who they are."""

    def forgotten(self, users):
        return set()


class WritesAtClose(SqliteStore):
    """Locks its file, and writes it when it is closed."""

    held: ClassVar[set] = set()

    def __init__(self, url, config):
        self.file = Path(url.partition(":")[2])
        if self.file in self.held:
            raise StoreError(f"{self.file} is open in another process")
        self.folder = tempfile.TemporaryDirectory()
        work = Path(self.folder.name) / "work.db"
        if self.file.exists():
            shutil.copy(self.file, work)
        try:
            super().__init__(f"mine:{work}", config)
        except StoreError:
            self.folder.cleanup()
            raise
        self.held.add(self.file)

    def close(self):
        super().close()
        if self.file in self.held:
            self.held.discard(self.file)
            shutil.copy(Path(self.folder.name) / "work.db", self.file)
            self.folder.cleanup()


class Locking(SqliteStore):
    """Locks its file, and writes it at once."""

    held: ClassVar[set] = set()

    def __init__(self, url, config):
        if url in self.held:
            raise StoreError(f"{url} is open in another process")
        super().__init__(url, config)
        self.held.add(url)

    def close(self):
        super().close()
        self.held.discard(self.url)


class LockingOthers(Locking):
    """Takes a copy for locked too, as a lock file does that names the process."""

    def __init__(self, url, config):
        if self.held:
            raise StoreError("locked by a process")
        super().__init__(url, config)


class Cheapened(MemoryStore):
    """Rounds costs to micro-USD."""

    def add_attempts(self, attempts):
        return super().add_attempts([attrs.evolve(each, cost_usd=round(each.cost_usd, 6)) for each in attempts])


class Unlimited(MemoryStore):
    def experience(self, after=0, limit=1000):
        return super().experience(after, 10**9)


class Lost(MemoryStore):
    def position(self):
        return 0


class NeverClosed(MemoryStore):
    def close(self):
        pass


class Timeless(MemoryStore):
    def outcomes(self, since=None, until=None, reader=None):
        return super().outcomes(reader=reader)


class CallsLost(MemoryStore):
    def add_feedback(self, feedback):
        return super().add_feedback([(item, None) for item, _ in feedback])


class Trusting(MemoryStore):
    def add_attempts(self, attempts):
        return super().add_attempts([attrs.evolve(each, candidate="") for each in attempts])


class Keepsake(MemoryStore):
    def forget(self, user, tenant=None):
        return 1


class Overwriting(SqliteStore):
    def __init__(self, url, config):
        try:
            super().__init__(url, config)
        except StoreError:
            Path(url.partition(":")[2]).unlink()
            super().__init__(url, config)


class Everywhere(SqliteStore):
    @classmethod
    def exists(cls, url):
        return True


class Numbering(MemoryStore):
    """Chooses the numbers of attempts by a count of its own, without a lock."""

    def add_attempts(self, attempts):
        counts = self.__dict__.setdefault("counts", Counter())
        given = [each if each.n is not None else attrs.evolve(each, n=counts[each.decision_id] + row) for row, each in enumerate(attempts)]
        numbers = super().add_attempts(given)
        counts.update({each.decision_id: each.n + 1 - counts[each.decision_id] for each in given})
        return numbers


@pytest.mark.parametrize(
    ("target", "checks"),
    [
        (Volatile, {"entries are there when the log is opened again", "forgetting is durable", "two stores of one log share it"}),
        (Amnesic, {"forgetting is durable"}),
        (Discreet, {"forgetting is durable"}),
        (WritesAtClose, {"entries are there when the log is opened again"}),
        (Cheapened, {"attempts without a number take the next"}),
        (Locking, set()),
        (Unlimited, {"experience keeps the order of the log"}),
        (Lost, {"experience keeps the order of the log"}),
        (NeverClosed, {"a closed store takes no entries"}),
        (Timeless, {"outcomes of a time"}),
        (CallsLost, {"feedback comes with its attempt"}),
        (Trusting, {"unknown candidates are refused"}),
        (Keepsake, {"forgetting erases what was logged", "a forgotten user stays forgotten"}),
        (Overwriting, {"files that are not logs are refused"}),
        (Everywhere, {"files that are not logs are refused"}),
        (Twice, {"the same feedback counts once", "a later revision replaces feedback", "feedback comes with its attempt"}),
        (Numbering, {"several threads write to one decision"}),
        (Impatient, {"early feedback waits for its decision"}),
        (Backwards, {"experience keeps the order of the log"}),
        (Mixed, {"records go with decisions"}),
        (Restarting, {"experience keeps the order of the log"}),
        (Plain, {"a decision is returned as it was logged"}),
        (Recalling, {"forgetting erases what was logged"}),
        (Hoarding, {"few snapshots are kept"}),
        (Journal, {"forgetting leaves no bytes"}),
        (Forgetful, {"a later revision replaces feedback"}),
        (Rerolled, {"asking again returns the logged decision"}),
        (Certain, {"an unknown propensity stays unknown"}),
        (Oldest, {"the newest snapshot is kept", "deltas are a chain"}),
        (Greedy, {"deltas are a chain"}),
        (Unforgiving, {"a forgotten user stays forgotten"}),
        (Hasty, {"retention drops whole decisions that were learned"}),
        (Silent, {"retention drops whole decisions that were learned"}),
    ],
)
def test_a_broken_store_is_caught(offer, target, checks):
    assert failed(offer("store", target), "store") == checks


def test_a_store_of_which_not_even_a_copy_can_be_opened_is_said_to_be_half_checked(offer):
    findings = {finding.check: finding for finding in check_component("store", "mine", offer("store", LockingOthers))}
    found = findings["entries are there when the log is opened again"]
    assert (found.skipped, found.message) == (True, "its entries are there after close; before, only one process may open it: locked by a process")


def test_a_store_that_returns_nothing_is_told_what_to_return(offer):
    found = {finding.check: finding for finding in check_component("store", "mine", offer("store", Mute))}["a decision is returned as it was logged"]
    assert found.message.startswith("add_decisions must return the decisions in the log, not None")


class Shelf(RowStore):
    """A third party's store on a server: rows on shelves, one shelf a URL."""

    shelves: ClassVar[dict] = {}
    lock = threading.Lock()

    @classmethod
    @contextmanager
    def test_url(cls, name, folder):
        url = f"{name}://shelves/{uuid.uuid4().hex}"
        try:
            yield url
        finally:
            del cls.shelves[url]

    def __init__(self, url, config):
        super().__init__(url, config)
        if "//shelves/" not in url:
            raise ValueError(f"no shelf has the name {url!r}")
        self.shelves.setdefault(url, ([], []))
        self.closed = False

    def rows(self, after=0, limit=1000):
        return self.shelves[self.url][0][after : after + limit]

    def pending_rows(self):
        return self.shelves[self.url][1]

    def batch(self, after=0, limit=1000):
        everything, rows = self.rows(0, 10**9), self.rows(after, limit)
        named = {row.decision_id for row in rows}
        decisions = [row for row in everything if row.kind == DECISION and row.id in named]
        return Batch(after + len(rows), rows, decisions, 0, None, replaced_rows(rows, everything))

    def close(self):
        self.closed = True

    def _find(self, decision_id):
        return next((row for row in self.rows(0, 10**9) if (row.kind, row.id) == (DECISION, decision_id)), None)

    def _counts(self):
        return len(self.rows(0, 10**9)), 0

    def _forgotten_digests(self):
        return ()

    def _write(self, write):
        if self.closed:
            raise StoreError("the shelf is closed")
        with self.lock:
            placed, pending = self.shelves[self.url]
            excerpt = Excerpt(placed, pending)
            result = write.run(excerpt)
            placed.extend(excerpt.added)
            taken = {row.key for row in excerpt.added}
            pending[:] = [row for row in pending if row.key not in taken] + list(excerpt.added_pending.values())
            return result


class NewDecisions(Shelf):
    """Leaves out the decisions of late feedback."""

    def batch(self, after=0, limit=1000):
        found = super().batch(after, limit)
        return attrs.evolve(found, decisions=[row for row in found.rows if row.kind == DECISION])


class Stale(Shelf):
    """Reads the shelf when it is opened, and never again."""

    def __init__(self, url, config):
        super().__init__(url, config)
        placed, pending = Shelf.shelves[url]
        self.shelves = {url: ([*placed], [*pending])}

    def _write(self, write):
        result = super()._write(write)
        placed, pending = self.shelves[self.url]
        Shelf.shelves[self.url] = [*placed], [*pending]
        return result


@attrs.frozen(kw_only=True)
class OwnOptions:
    shelf: str = option("", "Name of the shelf.")


class OwnConfig(Shelf):
    Config = OwnOptions


def test_a_third_partys_store_on_a_server_passes_the_kit(offer):
    assert failed(offer("store", Shelf), "store") == set()
    assert failed(offer("store", NewDecisions), "store") == {"experience keeps the order of the log"}
    assert failed(offer("store", Stale), "store") == {"two stores of one log share it"}
    assert Shelf.shelves == {}


def test_options_of_a_row_store_that_do_not_derive_from_its_own_are_refused(offer):
    with pytest.raises(
        PluginError, match=r"its Config must derive from aamc_sdk.log.RowStore.Config, whose options RowStore follows, not OwnOptions\("
    ):
        open_store("mine://shelves/a", offer("store", OwnConfig))


def test_entries_that_checks_leave_pending_are_not_warned_of(offer, caplog):
    check_component("store", "mine", offer("store", MemoryStore))
    assert "pending" not in caplog.text


def test_a_store_with_another_signature_is_reported_once(offer):
    class Urled(MemoryStore):
        def __init__(self, url):
            super().__init__(url, None)

    findings = check_component("store", "mine", offer("store", Urled))
    (failed,) = [finding for finding in findings if not finding.passed]
    assert "positional argument" in failed.message
    assert f"it fails as {failed.check!r} does" in {finding.message for finding in findings if finding.skipped}


def test_checks_of_what_a_store_does_not_offer_are_skipped_with_the_reason(offer):
    findings = {finding.check: finding for finding in check_component("store", "mine", offer("store", Shelf))}
    assert {check: re.sub(r"mine:\S+|\(.*", "", finding.message).strip() for check, finding in findings.items() if finding.skipped} == {
        "the newest snapshot is kept": "it keeps no snapshots",
        "few snapshots are kept": "it keeps no snapshots",
        "deltas are a chain": "it keeps no deltas",
        "forgetting erases what was logged": "the store  cannot forget a user",
        "forgetting leaves no bytes": "it keeps its log in no file of the kit's folder",
        "forgetting is durable": "the store  cannot forget a user",
        "a forgotten user stays forgotten": "the store  cannot forget a user",
        "retention drops whole decisions that were learned": "it has no option retention",
        "files that are not logs are refused": "it keeps its log in no file of the kit's folder",
    }


@pytest.mark.parametrize("option", ["retention", "durability"])
def test_a_row_store_refuses_options_that_its_base_class_does_not_follow(offer, option):
    with pytest.raises(ConfigError, match=f"has no option '{option}'"):
        open_store("mine://shelves/a", offer("store", Shelf), {option: {}})
    open_store("mine://shelves/a", offer("store", Shelf), {"on_store_failure": "serve"}).close()
