"""The base class of stores on servers: group commit, and a spool for writes while the server is away."""

from __future__ import annotations

import abc
import logging
import os
import re
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import attrs

from aamc_sdk.config import option
from aamc_sdk.errors import ConfigError, StoreAwayError, StoreError, UnknownDecisionError
from aamc_sdk.log import (
    FEEDBACK,
    FITTING_CHARACTERS,
    Addition,
    Batch,
    Erasure,
    GroupCommit,
    PartitionedStore,
    Row,
    StoreOptions,
    Write,
    columns_of,
    feedback_addition,
    record_from,
)
from aamc_sdk.types import Attempt, Experience, Feedback, Record
from aamc_stores.spool import Spool, SpoolError, default_spools

T = TypeVar("T")
logger = logging.getLogger(__name__)
_FLUSHED_AT_ONCE = 500


@attrs.frozen(kw_only=True)
class SharedOptions(StoreOptions):
    """The options of the stores on servers."""

    prefix: str = option("aamc", "Prefix of the log's tables or keys (letters, digits and _); distinguishes several logs on one server.")
    spool: str = option("", "File for writes while the server is away (default: a file in the user's state folder).")
    timeout_s: float = option(5.0, "Time in seconds after which a server counts as away if it does not answer or a lock is not free.", above=0)
    max_spool_mb: float = option(1000.0, "Maximum size of the spool in MB (1e6 bytes); a full spool takes no writes.", above=0)
    retry_s: float = option(1.0, "Time between two attempts to reach a server that is away, in seconds.", above=0)


class SharedStore(PartitionedStore):
    """A log on a server. While the server cannot be reached, writes wait in the spool and reads find nothing new.

    After a write that the server did not answer, the next ones go to the spool at once, until the delivering thread has reached the server: a
    server that hangs delays the requests of one moment, not all of them.

    Raises:
        StoreError: The server cannot be reached when the store is opened, or holds a newer version of the log.
    """

    Config = SharedOptions

    def __init__(self, url: str, config: Any) -> None:
        super().__init__(url, config)
        scheme, _, rest = url.partition(":")
        if not rest.startswith("//"):
            raise ConfigError(f"the URL of store {scheme} must have two slashes, such as {scheme}://HOST")
        if not re.fullmatch(r"[A-Za-z_]\w{0,39}", config.prefix, re.ASCII):
            raise ConfigError(f"the prefix of a log must be up to 40 letters, digits and _ and must not start with a digit: {config.prefix!r}")
        self._connect()
        self._epoch = self.batch(0, 0).epoch
        spool, earlier = default_spools(url, self.name, config.prefix)
        self._spool = Spool(Path(config.spool or spool), config.prefix, round(1e6 * config.max_spool_mb))
        if not config.spool:
            self._spool.adopt(earlier)
        self._absence = ""
        self._is_unreadable = False
        self._failure = ""
        self._closing = threading.Event()
        self._spooled = threading.Event()
        self._spooled.set()  # an earlier process may have left entries
        self._writer = GroupCommit(self._commit_after_spool, lambda: None)
        self._flusher = threading.Thread(target=self._keep_flushing, name="aamc-spool", daemon=True)
        self._flusher.start()
        self._start_retention()

    @classmethod
    @contextmanager
    def test_url(cls, name: str, folder: Path) -> Iterator[str]:
        """Return the URL of a new log on the server of ``AAMC_KIT_<NAME>_URL``, and delete the log afterwards; without a server, skip the check."""
        from aamc_sdk.testing import skip

        variable = f"AAMC_KIT_{name.upper()}_URL"
        if variable not in os.environ:
            skip(f"set {variable} to the URL of a server that the kit may write to")
        server, config = os.environ[variable], SharedOptions(prefix=f"kit_{uuid.uuid4().hex}", spool=str(folder / "spool.db"))
        yield f"{server}{'&' if '?' in server else '?'}{urlencode({'prefix': config.prefix, 'spool': config.spool})}"
        store = cls(server, config)
        store.drop()
        store.close()

    def add_feedback(self, feedback: Sequence[tuple[Feedback, Attempt | None]]) -> list[bool]:
        """Append feedback in order, up to the first that is refused; return which of it is new: in the spool, while the server is away."""

        def spool() -> list[bool]:
            return self._spool.put([feedback_addition(*each) for each in feedback])

        return self._or_spooled(lambda: super(SharedStore, self).add_feedback(feedback), spool)

    def record(self, decision_id: str) -> Record:
        """Return a decision's record, from the server or from the spool.

        Raises:
            StoreAwayError: It is not in the spool, and the server is away.
            UnknownDecisionError: The log has no decision of that id.
        """
        try:
            row = self._read(lambda: self._find(decision_id)) or self._spool.decision(decision_id)
            row = row or self._read(lambda: self._find(decision_id))  # it may have left the spool meanwhile
        except SpoolError:
            raise
        except StoreAwayError as away:
            row = self._spool.decision(decision_id)
            if row is None:
                raise StoreAwayError(f"decision {decision_id!r} is not in the local spool, and unknown until the server is back: {away}") from away
        if row is None:
            raise UnknownDecisionError(f"no decision of the log {self.name} has the id {decision_id!r}")
        return record_from(row)

    def experience(self, after: int = 0, limit: int = 1000) -> Experience:
        """Return at most ``limit`` entries after a position; nothing while the server is away."""
        try:
            batch = self.batch(after, limit)
            self._epoch = batch.epoch
        except StoreAwayError as error:
            logger.debug("nothing can be read now: %s", error)
            batch = Batch(after, (), (), self._epoch, None)
        return batch.experience()

    @property
    def is_away(self) -> bool:
        """Whether the server did not answer the last read, or the delivering thread."""
        return self._is_unreadable

    def position(self) -> int:
        """Return the log's last position, as the server knows it now.

        Raises:
            StoreAwayError: The server cannot be read.
        """
        return self._ask_for(super().position)

    def health(self) -> Mapping[str, float]:
        """Return numbers of entries by state, the spool's among them; the server's are left out while it cannot be read.

        ``away`` is 1 while the server cannot be read, and from the first write that it did not take until it has taken the spool's entries again.
        """
        try:
            return self._read(super().health)
        except StoreAwayError:
            return {**self.process_health(), "away": 1}

    def process_health(self) -> Mapping[str, float]:
        """Return numbers of this process's entries, those in its spool among them, and whether the server is away."""
        waiting, refused = self._spool.counts()
        spool = {"spooled": waiting, "refused": refused, "spool_bytes": self._spool.size, "queued": self._writer.queued}
        return {**super().process_health(), **spool, "away": int(bool(self._absence))}

    def forget(self, user: str | None, tenant: str | None = None) -> int:
        """Erase decisions of a user, a tenant, or a user within a tenant, on the server and in the spool; return their number.

        Spooled entries are delivered first, as they would bring the user back later. Another machine's spool is out of reach.

        Raises:
            StoreAwayError: The server is away, or another transaction holds the log's lock; nothing repeats the erasure but another call.
        """
        try:
            self.flush()
            decisions = super().forget(user, tenant)
        except StoreAwayError as error:
            raise StoreAwayError(f"{error}; the erasure is not complete: repeat it") from error
        self._spool.forget(Erasure(user, tenant))
        return decisions

    def flush(self) -> None:
        """Deliver the spool's entries to the server.

        Raises:
            StoreAwayError: It is still away; acknowledged entries are out of the spool.
        """
        while self._writer.run(self._deliver_next):
            pass
        self._ask()

    def close(self) -> None:
        """Finish the writes, to the server or the spool, then close both; closing twice, or in a forked child, does nothing."""
        if not (self._writer.forked or self._closing.is_set()):
            self._closing.set()
            self._spooled.set()
            self._stop_retention()
            self._flusher.join()
            self._writer.close()
            self._spool.close()
            self._disconnect()

    def _append_decisions(self, rows: Sequence[Row]) -> Sequence[Row | None]:
        return self._or_spooled(lambda: super(SharedStore, self)._append_decisions(rows), lambda: self._spool.put_decisions(rows))

    def _append_attempts(self, rows: Sequence[Row]) -> Sequence[int]:
        """Append attempts, all or none; return their numbers: of those without one, while the server is away, the spool's own count."""
        return self._or_spooled(lambda: super(SharedStore, self)._append_attempts(rows), lambda: self._spool.put_attempts(rows))

    def _write(self, write: Write[T]) -> T:
        return self._writer.run(write)

    def _read(self, read: Callable[[], T]) -> T:
        """Read from the server; raise StoreAwayError at once from the first read that it does not answer until it answers again."""
        if self._is_unreadable:
            raise StoreAwayError(self._absence)
        return self._ask_for(read)

    def _ask_for(self, read: Callable[[], T]) -> T:
        """Read from the server, and note if it does not answer."""
        try:
            return read()
        except StoreAwayError as error:
            self._note_absence(error)
            self._is_unreadable = True
            self._spooled.set()  # the delivering thread asks when it is back
            raise

    def _or_spooled(self, write: Callable[[], T], spool: Callable[[], T]) -> T:
        """Write to the server; when it is away, to the spool."""
        try:
            self._check_presence()
            return write()
        except StoreAwayError as error:
            self._note_absence(error)
        try:
            return spool()
        finally:
            self._spooled.set()  # also after a refusal: the entries before the refused one are in the spool

    def _commit_after_spool(self, writes: Sequence[Write[Any]]) -> Sequence[Any]:
        """Commit a group of writes after the entries on the same decisions that wait in the spool, whichever process put them there."""
        self._check_presence()  # again: the group before may have found out
        try:
            self._deliver_about(writes)
            return self._commit(writes)
        except StoreAwayError as error:
            self._note_absence(error)  # on this thread, so that the next group does not ask again
            raise

    def _deliver_about(self, writes: Sequence[Write[Any]]) -> None:
        """Commit the entries of the spool on the decisions of some writes; an entry that cannot be delivered stops no write."""
        try:
            if not self._spool.is_empty:
                self._spooled.set()  # the rest may be of a process that has ended
                decisions = [name for write in writes for name in write.decisions]
                self._deliver(self._spool.about(decisions, [name for write in writes for name in write.feedback]))
        except Exception as error:
            if isinstance(error, StoreAwayError) and not isinstance(error, SpoolError):
                raise
            self._note_failure(error)

    def _deliver_next(self) -> bool:
        """Deliver the entries that have waited longest; return whether there were any."""
        waiting = self._spool.first(_FLUSHED_AT_ONCE)
        self._deliver(waiting)
        return bool(waiting)

    def _deliver(self, waiting: Sequence[tuple[int, Addition]]) -> None:
        """Commit entries of the spool in order and remove them; called on the committing thread. What the server refuses is set aside."""
        at_once = _FLUSHED_AT_ONCE
        while waiting:
            batch = waiting[:at_once]
            refusal: Exception | None
            try:
                ((new, refusal),) = self._commit([self._adding([entry for _, entry in batch])])
            except StoreAwayError:
                raise
            except (StoreError, ValueError) as error:  # an entry that the server cannot hold; which one, single writes tell
                if len(batch) > 1:
                    at_once = 1
                    continue
                new, refusal = [], error
            if any(new):
                self._note_return()
            self._spool.remove([number for number, _ in batch[: len(new)]])
            if refusal is not None:
                self._set_aside(*batch[len(new)], refusal)
            waiting = waiting[len(new) + (refusal is not None) :]

    def _set_aside(self, number: int, entry: Addition, why: Exception) -> None:
        where = self._spool.path
        logger.error("the log %s refused %s %r, which waited in %s and is kept there: %s", self.name, entry[-1].kind, entry[-1].id, where, why)
        self._spool.set_aside(number, str(why))

    def _check_presence(self) -> None:
        """Raise a StoreAwayError while the server is away."""
        if self._absence:
            raise StoreAwayError(self._absence)

    def _ask(self) -> None:
        """Ask a server that was away whether it is back; raise StoreAwayError if not."""
        if self._absence or self._is_unreadable:
            self.batch(0, 0)
            self._note_return()

    def _can_be_read(self) -> bool:
        """Return whether the server answers reads: one that is full or read-only still knows its decisions."""
        try:
            self.batch(0, 0)
        except StoreError:
            return False
        return True

    def _note_return(self) -> None:
        known, self._absence = self._absence, ""
        self._is_unreadable = False
        if known:
            logger.warning("the log %s is back", self.name)

    def _note_absence(self, error: StoreError) -> None:
        known, self._absence = self._absence, str(error)  # before the log is written: other threads look at it
        if not known:
            logger.warning("%s; writes wait in %s until it is back", error, self._spool.path)

    def _keep_flushing(self) -> None:
        """Deliver the spool's entries whenever there are some, until the store is closed; a failure is tried again."""
        while not self._closing.is_set():
            self._spooled.wait()
            self._spooled.clear()
            try:
                self.flush()
            except Exception as error:
                if isinstance(error, StoreAwayError) and not isinstance(error, SpoolError):
                    self._note_absence(error)
                    self._is_unreadable = not self._can_be_read()
                else:  # such as the spool's disk that is full: writes may reach the server all the same
                    self._note_failure(error)
                    with suppress(Exception):  # the thread must go on
                        self._ask()
            else:
                self._failure = ""
                continue
            self._spooled.set()
            self._closing.wait(self.config.retry_s)

    def _note_failure(self, error: Exception) -> None:
        """Log once why the spool's entries are not delivered."""
        known, self._failure = self._failure, str(error)  # before the log is written: a writer and the flushing thread may fail together
        if str(error) != known:
            logger.error("the entries in %s do not reach the log %s for now", self._spool.path, self.name, exc_info=error)

    @abc.abstractmethod
    def _connect(self) -> None:
        """Open connections, and make the log or bring it to the present version."""

    def _commit(self, writes: Sequence[Write[Any]]) -> Sequence[Any]:
        """Commit a group of writes, whole or not at all, and return each one's result; called on one thread.

        Raises:
            StoreAwayError: The server cannot be reached, or was lost before it acknowledged.
        """
        feedback = _plain_feedback(writes)
        if feedback and self._add_plain(feedback):
            return [([True] * len(write.appended), None) for write in writes]
        return self._commit_by_rules(writes)

    @abc.abstractmethod
    def _add_plain(self, feedback: Sequence[Row]) -> bool:
        """Add feedback on the server, without reading its decisions first; the candidate of each is the one that served its decision.

        Returns:
            Whether it is added: all of it was new, and its decisions were in the log. Otherwise nothing is added, and the log's rules decide.
        """

    @abc.abstractmethod
    def _commit_by_rules(self, writes: Sequence[Write[Any]]) -> Sequence[Any]:
        """Commit a group of writes by running them on the entries that they need."""

    @abc.abstractmethod
    def drop(self) -> None:
        """Delete the log."""

    @abc.abstractmethod
    def _disconnect(self) -> None:
        """Close the connections."""


def _plain_feedback(writes: Sequence[Write[Any]]) -> list[Row]:
    """Return the feedback of a group of writes if they add nothing else and it names no candidate; otherwise nothing."""
    found = [row for write in writes for row in write.appended if row.kind == FEEDBACK]
    if len(found) < sum(len(write.feedback) for write in writes) or not all(write.feedback for write in writes):
        return []
    ids = {row.id for row in found}
    longest = max(len(name) for row in found for name in (row.id, row.decision_id))
    plain = all(not row.candidate and columns_of(row)["beaten"] is None and row.revision == 0 for row in found)
    return found if plain and len(ids) == len(found) and longest <= FITTING_CHARACTERS else []
