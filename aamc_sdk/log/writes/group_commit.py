"""Group commit: writes of many threads share one transaction, since making a transaction durable takes most of the time.

While one group is being committed the next one gathers: a single writer waits for one commit, a thousand writers for two at most. The leader
commits a group; then the first waiting thread becomes the leader. The other threads return at once, and bring their next writes before that group
is committed.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, TypeVar

from aamc_sdk.concurrency import ForkCheckedLock
from aamc_sdk.errors import StoreAwayError, StoreError
from aamc_sdk.log.writes.excerpt import Excerpt, Write
from aamc_sdk.log.writes.rules import warn_of_pending

T = TypeVar("T")
logger = logging.getLogger(__name__)
MAX_PER_GROUP = 1024
"""Writes in one transaction; bounds how long the first of them waits."""

_INTERRUPTS = (KeyboardInterrupt, SystemExit)
"""Exceptions that a signal's handler raises in the committing thread, which may be any writer's."""


class _Item:
    """A write or a job that waits.

    Attributes:
        work: The write or the job.
        result: Its result.
        error: The exception to raise in place of a result.
        done: Whether one of them is known.
        signals: Gets an element when it is done, or when its thread is to lead. Ctrl-C could leave an event or a future locked.
        abandoned: Whether its thread does not wait any more, and so cannot lead.
    """

    def __init__(self, work: Any) -> None:
        self.work = work
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = False
        self.signals: SimpleQueue[None] = SimpleQueue()
        self.abandoned = False

    def settle(self, result: Any = None, error: BaseException | None = None) -> None:
        """Set the result or the exception."""
        self.result, self.error, self.done = result, error, True


def run_writes(writes: Sequence[Write[Any]], excerpt: Excerpt) -> list[Any]:
    """Run writes on an excerpt of the log, one after the other; return the result of each, or the StoreError that refused it."""
    results: list[Any] = []
    for write in writes:
        try:
            results.append(write.run(excerpt))
        except StoreError as error:  # refused on its own; the rest of the group goes on
            results.append(error)
    warn_of_pending(excerpt.added_pending.values())
    return results


class GroupCommit:
    """Commits writes in groups. Each caller returns when its write is durable.

    Args:
        commit: Commits a group, whole or not at all, and returns the results of :func:`run_writes`. A StoreAwayError is raised in every caller
            of the group; after another error the group is divided, until only the callers whose writes fail see it.
        finish: Called after the last group.
        sync: Called on a thread of its own at most ``sync_s`` after a commit or function; its errors are logged. None for nothing.
        sync_s: Time in seconds.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Write[Any]]], Sequence[Any]],
        finish: Callable[[], None],
        sync: Callable[[], None] | None = None,
        sync_s: float = 0.0,
    ) -> None:
        self._commit = commit
        self._finish = finish
        self._sync = sync
        self._sync_s = sync_s
        self._timer: threading.Timer | None = None
        self._queue: deque[_Item] = deque()
        self._lock = ForkCheckedLock("the decision log")
        self._leader: _Item | None = None
        self._closed = False
        self._ended = False

    @property
    def queued(self) -> int:
        """The number of writes that wait for their turn."""
        return len(self._queue)

    @property
    def forked(self) -> bool:
        """Whether this process is a fork of the one that opened the log."""
        return self._lock.forked

    def run(self, work: Write[T] | Callable[[], T], *, closes: bool = False) -> T:
        """Commit a write and return its result once that is durable, or call a function between two groups of writes.

        Work that ``closes`` the log is the last: all later work is refused.

        Raises:
            StoreError: The write was refused, the transaction failed, or the log is closed.
            ForkedError: This process is a fork of the one that opened the log.
        """
        self._lock.check()
        item = _Item(work)
        try:
            self._enqueue(item, closes)
            while not item.done:
                if self._leads(item):
                    self._run_group()
                else:
                    item.signals.get()
            self._hand_over(item)
        except BaseException:  # such as KeyboardInterrupt: the others must not wait for this thread
            item.abandoned = True
            self._hand_over(item)
            raise
        if item.error is not None:
            raise item.error
        result: T = item.result
        return result

    def _enqueue(self, item: _Item, closes: bool) -> None:
        """Add work to the queue; its thread leads if no other does."""
        with self._lock.held:
            if self._closed and not closes:
                raise StoreError("the decision log is closed")
            self._closed |= closes
            self._queue.append(item)
            if self._leader is None:
                self._leader = item

    def _leads(self, item: _Item) -> bool:
        with self._lock.held:  # a thread that hands over signals first
            return self._leader is item

    def _hand_over(self, item: _Item) -> None:
        """Let the next thread lead, if an item's thread does; an interrupted call can be repeated."""
        with self._lock.held:
            if self._leader is not item:
                return
            next_leader = next((each for each in self._queue if not each.abandoned), None)
            if next_leader is not None:
                next_leader.signals.put(None)  # before it leads: where an interrupt comes between, the repetition signals again
            self._leader = next_leader

    def close(self) -> None:
        """Finish the writes, then stop; closing twice, or in a forked child, does nothing."""
        if not self.forked:
            self.run(self._end, closes=True)

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        self._finish()

    def _run_group(self) -> None:
        """Commit the writes that wait, then call the functions among them. What an interrupt leaves undone waits again."""
        group: list[_Item] = []
        try:
            with self._lock.held:
                while self._queue and len(group) < MAX_PER_GROUP:
                    group.append(self._queue[0])
                    self._queue.popleft()
            writes = [item for item in group if isinstance(item.work, Write)]
            if writes:
                self._commit_group(writes)
                for item in writes:
                    item.signals.put(None)
                self._sync_later()
            for item in group:
                if not isinstance(item.work, Write):
                    _call(item)
                    item.signals.put(None)
                    self._sync_later()
        except BaseException:
            with self._lock.held:
                self._queue.extendleft([item for item in reversed(group) if not item.done and item not in self._queue])
            for item in group:
                if item.done:
                    item.signals.put(None)
            raise

    def _sync_later(self) -> None:
        if self._sync is not None and self._timer is None and not self._ended:
            self._timer = threading.Timer(self._sync_s, self._sync_now)
            self._timer.daemon = True
            self._timer.start()

    def _sync_now(self) -> None:
        self._timer = None
        try:
            assert self._sync is not None
            self._sync()
        except OSError:
            logger.exception("the last commits may not be on disk yet")

    def _commit_group(self, group: list[_Item]) -> None:
        try:
            results = self._commit([item.work for item in group])
        except _INTERRUPTS:  # of this thread, and no fault of a write
            raise
        except BaseException as error:  # raised in each waiting caller, whatever it is
            if len(group) > 1 and not isinstance(error, StoreAwayError):
                middle = len(group) // 2  # one write that fails must not take the others with it
                self._commit_group(group[:middle])
                self._commit_group(group[middle:])
                return
            for item in group:
                item.settle(error=error)
            return
        for item, result in zip(group, results, strict=True):
            if isinstance(result, StoreError):
                item.settle(error=result)
            else:
                item.settle(result)


def _call(item: _Item) -> None:
    try:
        item.settle(item.work())
    except _INTERRUPTS:
        raise
    except BaseException as error:  # raised in the waiting caller, whatever it is
        item.settle(error=error)
