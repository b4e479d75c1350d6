"""What the stores on servers have in common: group commit, and a spool for when the server is away."""

from __future__ import annotations

import abc
import logging
import re
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import attrs

from aamc_sdk.config import option
from aamc_sdk.errors import ConfigError, StoreAwayError, StoreError, UnknownDecisionError
from aamc_sdk.log import GroupCommit, LedgerStore, Row, StoreOptions, Write, join, record_from
from aamc_sdk.types import Attempt, Experience, Feedback, Record
from aamc_stores.spool import Spool, default_spool, name_of

T = TypeVar("T")
logger = logging.getLogger(__name__)
_FLUSHED_AT_ONCE = 500


@attrs.frozen(kw_only=True)
class SharedOptions(StoreOptions):
    """The options of the stores on servers."""

    prefix: str = option("aamc", "What the names of tables or keys begin with: letters, digits and _. It tells several logs on one server apart.")
    spool: str = option("", "The file where writes wait while the server is away; one in the user's state folder when empty.")
    timeout_s: float = option(5.0, "How long the server may take to answer before it counts as away, in seconds.", above=0)
    retry_s: float = option(1.0, "How long a server that is away is left alone before it is tried again, in seconds.", above=0)


class Stretch(NamedTuple):
    """A part of the log: its entries, the decisions that they are or name in log order, the epoch, and what names the entry before it."""

    rows: Sequence[Row]
    decisions: Sequence[Row]
    epoch: int
    follows: str | None


class SharedStore(LedgerStore):
    """A log on a server. While that cannot be reached, writes wait in the spool and reads find nothing new.

    Raises:
        StoreError: The server cannot be reached when the store is opened, or holds a newer version of the log.
    """

    Config = SharedOptions
    on_server = True

    def __init__(self, url: str, config: Any) -> None:
        super().__init__(url, config)
        if not re.fullmatch(r"[A-Za-z_]\w{0,39}", config.prefix, re.ASCII):
            raise ConfigError(f"the prefix of a log is up to 40 letters, digits and _, and begins with no digit; it is {config.prefix!r}")
        self._connect()
        self._epoch = self._stretch(0, 0).epoch
        self._spool = Spool(Path(config.spool) if config.spool else default_spool(url, config.prefix))
        self._away_until = 0.0
        self._failure = ""
        self._closing = threading.Event()
        self._spooled = threading.Event()
        self._spooled.set()  # an earlier process may have left something
        self._writer = GroupCommit(self._commit, lambda: None)
        self._flusher = threading.Thread(target=self._keep_flushing, name="aamc-spool", daemon=True)
        self._flusher.start()

    def judged_all(self, judgements: Sequence[tuple[Feedback, Attempt | None]]) -> list[bool]:
        """Append feedback in order, up to the first that is refused; return which of it is new, as far as the spool knows where it is spooled."""
        return self._or_spooled(lambda: super(SharedStore, self).add_feedback(judgements), lambda: self._spool.put(judgements))

    def record(self, decision_id: str) -> Record:
        """Return a decision with what it was made from, from the server or from the spool.

        Raises:
            StoreAwayError: It is not in the spool, and the server is away.
            UnknownDecisionError: There is none of that id.
        """
        row, away = None, None
        try:
            row = self._find(decision_id)
        except StoreAwayError as error:
            away = error
        row = row or self._spool.decision(decision_id)
        if row is not None:
            return record_from(row)
        if away is not None:
            raise StoreAwayError(f"decision {decision_id!r} does not wait here, so it is unknown until the server is back: {away}") from away
        raise UnknownDecisionError(f"no decision of the log {self.name} has the id {decision_id!r}")

    def experience(self, after: int = 0, limit: int = 1000) -> Experience:
        """Return what the log holds after a position: nothing while the server is away."""
        try:
            found = self._stretch(after, limit)
            self._epoch = found.epoch
        except StoreAwayError as error:
            logger.debug("nothing can be read now: %s", error)
            found = Stretch((), (), self._epoch, None)
        return join(after + len(found.rows), *found)

    def forget(self, user: str) -> int:
        """Erase a user's decisions, on the server and in the spool; return how many they are.

        What waits is delivered first, as it would bring the user back later. Another machine's spool is out of reach.
        """
        self.flush()
        self._spool.forget(user)
        return self._forget(user)

    def flush(self) -> None:
        """Bring what waits in the spool to the server.

        Raises:
            StoreAwayError: It is still away; what it has acknowledged is out of the spool.
        """
        at_once = _FLUSHED_AT_ONCE
        while waiting := self._spool.first(at_once):
            refusal: Exception | None
            try:
                new, refusal = self.add([entry for _, entry in waiting])
            except StoreAwayError:
                raise
            except (StoreError, ValueError) as error:  # an entry that the server cannot hold; which one, single writes tell
                if at_once > 1:
                    at_once = 1
                    continue
                new, refusal = [], error
            self._spool.remove([number for number, _ in waiting[: len(new)]])
            if refusal is not None:
                number, entry = waiting[len(new)]
                where = self._spool.path
                logger.error("the log %s refused %s %r, which waited in %s and is kept there: %s", self.name, *name_of(entry), where, refusal)
                self._spool.set_aside(number, str(refusal))

    def close(self) -> None:
        """Write what was asked for, to the server or the spool, then let go of both; closing twice does nothing."""
        if not self._closing.is_set():
            self._closing.set()
            self._spooled.set()
            self._flusher.join()
            self._writer.close()
            self._spool.close()
            self._disconnect()

    @property
    def name(self) -> str:
        """The URL without its password, for messages."""
        scheme, _, rest = self.url.partition("://")
        return f"{scheme}://{rest.rpartition('@')[2]}"

    def _append(self, rows: Sequence[Row]) -> None:
        self._or_spooled(lambda: super(SharedStore, self)._append(rows), lambda: self._spool.put(rows, whole=True))

    def _write(self, write: Write[T]) -> T:
        return self._writer.run(write)

    def _or_spooled(self, write: Callable[[], T], spool: Callable[[], T]) -> T:
        """Write to the server; when it is away, to the spool."""
        if time.monotonic() >= self._away_until:
            try:
                return write()
            except StoreAwayError as error:
                self._note_absence(error)
        try:
            return spool()
        finally:
            self._spooled.set()  # also where a refusal ended it: what stands before that is there

    def _note_absence(self, error: StoreError) -> None:
        if self._away_until == 0:
            logger.warning("%s; writes wait in %s until it is back", error, self._spool.path)
        self._away_until = time.monotonic() + self.config.retry_s

    def _keep_flushing(self) -> None:
        """Empty the spool whenever there is something in it, until the store is closed; whatever fails is tried again."""
        while not self._closing.is_set():
            self._spooled.wait()
            self._spooled.clear()
            try:
                self.flush()
            except StoreAwayError as error:
                self._note_absence(error)
            except Exception as error:  # such as the spool's disk that is full
                self._note_failure(error)
            else:
                if self._away_until:
                    logger.warning("the log %s is back", self.name)
                self._away_until, self._failure = 0.0, ""
                continue
            self._spooled.set()
            self._closing.wait(self.config.retry_s)

    def _note_failure(self, error: Exception) -> None:
        """Say why what waits is not delivered, once."""
        if str(error) != self._failure:
            logger.error("what waits in %s does not reach the log %s for now", self._spool.path, self.name, exc_info=error)
        self._failure = str(error)

    @abc.abstractmethod
    def _connect(self) -> None:
        """Open connections and see to it that the log is there."""

    @abc.abstractmethod
    def _commit(self, writes: Sequence[Write[Any]]) -> Sequence[Any]:
        """Commit a group of writes, whole or not at all, and return what each came to; called on one thread.

        Raises:
            StoreAwayError: The server cannot be reached, or was lost before it acknowledged.
        """

    @abc.abstractmethod
    def _find(self, decision_id: str) -> Row | None:
        """Return a decision's row."""

    @abc.abstractmethod
    def _stretch(self, after: int, limit: int) -> Stretch:
        """Return at most ``limit`` entries after a position, with what belongs to them."""

    @abc.abstractmethod
    def _forget(self, user: str) -> int:
        """Erase a user's decisions on the server; return how many they are."""

    @abc.abstractmethod
    def _disconnect(self) -> None:
        """Let go of the connections."""
