"""The base class of stores that drop the oldest partitions of their log."""

from __future__ import annotations

import abc
import logging
import threading
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, ClassVar

from aamc_sdk.log.options import Retention, StoreOptions
from aamc_sdk.log.retention.expiry import DAY_S, JUMP_S, clock_offset, ended_newest, needed_gb
from aamc_sdk.log.row_store import RowStore
from aamc_sdk.types import Partition

logger = logging.getLogger(__name__)
RETAIN_S = 60.0
"""Time between two calls of ``retain``, in a store that has limits."""


class PartitionedStore(RowStore):
    """A store that divides its log into partitions, and drops the oldest beyond the limits of its option ``retention``.

    A subclass calls ``_start_retention`` when it is open, and ``_stop_retention`` before it closes.
    """

    Config: ClassVar[type[Any]] = StoreOptions
    _retention_thread: threading.Thread | None = None

    def __init__(self, url: str, config: Any) -> None:
        super().__init__(url, config)
        self._clock_offset = clock_offset()
        self._reported: set[str] = set()
        self._ending = threading.Event()

    def retain(self) -> int:
        """Drop decisions beyond the limits of the store's retention; return their number.

        Does nothing after the system clock was changed by more than an hour, and logs one warning.
        """
        if self.config.retention == Retention():
            return 0
        was_set = self._clock_was_set()
        self._report(
            was_set, "the clock was set by more than an hour, so nothing is dropped from the log %s until the program is restarted", self.name
        )
        if was_set:
            return 0
        self._end_newest()
        decisions = self._retain()
        self._drop_expired()
        self._check_limit()
        self._check_newest()
        return decisions

    def health(self) -> Mapping[str, float]:
        """Return numbers of entries by state; ``needed_gb`` is the smallest useful ``max_gb`` if the present one leaves no room, else 0."""
        found = super().health()
        return {**found, "needed_gb": self._needed_gb(found)}

    def _needed_gb(self, figures: Mapping[str, float]) -> float:
        return needed_gb(int(figures.get("partitions", 0)), int(figures.get("size_bytes", 0)), self.config.retention)

    def _report(self, holds: bool, message: str, *values: object, level: int = logging.WARNING) -> None:
        """Log a message when its condition begins to hold."""
        if holds and message not in self._reported:
            logger.log(level, message, *values)
        (self._reported.add if holds else self._reported.discard)(message)

    def _check_limit(self) -> None:
        """Log a warning, once, if the log's limit in GB leaves no room for decisions."""
        figures = self._own_health()
        needed = self._needed_gb(figures)
        self._report(
            needed > 0,
            "the log %s takes %.2g GB with its newest partition alone, more than its max_gb of %g: all earlier decisions are dropped as soon as "
            "their partition ends. Set max_gb to at least %g; tables, learned states and sums over dropped decisions count towards it",
            *(self.name, figures.get("size_bytes", 0.0) / 1e9, self.config.retention.max_gb, needed),
        )

    def _check_newest(self) -> None:
        """Log a warning, once, if the newest partition began in the future."""
        begun = max((each.begun for each in self.partitions()[-1:]), default=0.0)
        self._report(
            begun > self._now() + DAY_S,
            "the newest partition of the log %s began in the future, on %s: the clock was ahead then, or is behind now. If it was ahead, nothing "
            "of the partition is dropped until it ends: after that day, or when this one is large. To keep the limit in days, export "
            "the log and import it into a new one (aamc feedback export and import)",
            *(self.name, datetime.fromtimestamp(begun, timezone.utc).date()),
        )

    def _end_newest(self) -> None:
        """Begin an empty partition after a day without decisions, so that the one before it expires although no decision follows."""
        newest, position = next(iter(self.partitions()[-1:]), None), self.position()
        if self.config.retention.days is None or newest is None or newest.first > position:  # an empty one needs no other
            return
        last_entry = max((row.time for row in self.batch(position - 1, 1).rows), default=0.0)
        ended = ended_newest(newest, last_entry, self._now())
        if ended is not None:
            self._begin_partition(newest.number + 1, ended)

    def _begin_partition(self, number: int, begun: float) -> None:
        """Begin an empty partition with the next position; does nothing if another process has begun the one of that number.

        Without an implementation, the last decisions of a log stay until the next one comes.
        """

    def _retain(self) -> int:
        """Drop partitions, a part at a time, while the oldest is to go; return the number of decisions dropped."""
        decisions = 0
        while (oldest := self._oldest_to_drop()) is not None and not self._ending.is_set():
            dropped = self._drop_part(oldest)
            if dropped is None:
                break
            decisions += dropped
        waits = oldest is not None and not self._ending.is_set()
        number = None if oldest is None else oldest.number
        message = "partition %s of %s is dropped when the routers that learn from the log have learned it all"
        self._report(waits, message, number, self.name, level=logging.INFO)
        return decisions

    @abc.abstractmethod
    def _drop_expired(self) -> None:
        """Drop expired sums, and floors of inactive routers that still contain forgotten users."""

    def _clock_was_set(self) -> bool:
        return abs(clock_offset() - self._clock_offset) > JUMP_S

    @abc.abstractmethod
    def _oldest_to_drop(self) -> Partition | None:
        """Return the oldest partition if it is expired (see :func:`aamc_sdk.log.is_oldest_expired`) or was dropped in part; else None."""

    @abc.abstractmethod
    def _drop_part(self, oldest: Partition) -> int | None:
        """Drop some decisions of the oldest partition with all their entries, and the partition if none is left.

        Return their number; None if a router that still learns has not learned all their entries yet.
        """

    def _start_retention(self) -> None:
        """Call :meth:`retain` on a thread of its own from time to time, where the log has limits."""
        if self.config.retention != Retention():
            self._retention_thread = threading.Thread(target=self._keep_retaining, name="aamc-retention", daemon=True)
            self._retention_thread.start()

    def _stop_retention(self) -> None:
        """End the retention's thread; does nothing when called again or in a forked child."""
        self._ending.set()
        if self._retention_thread is not None:
            self._retention_thread.join()

    def _keep_retaining(self) -> None:
        reported = ""
        while not self._ending.wait(RETAIN_S):
            try:
                self.retain()
                reported = ""
            except Exception as error:  # such as a disk that is full; the next time may do
                if str(error) != reported:
                    logger.warning("the log could not be brought within its limits, which is tried again: %s", error)
                reported = str(error)

    def forget(self, user: str | None, tenant: str | None = None) -> int:
        """Erase a user's decisions as :meth:`RowStore.forget` does, and the states of routers that no longer learn."""
        decisions = super().forget(user, tenant)
        if not self._clock_was_set():
            self._drop_expired()
        return decisions
