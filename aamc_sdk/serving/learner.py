"""Online learning: one thread feeds the log's entries to the router, in their order."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from aamc_sdk.errors import CheckpointError, PluginError, StoreAwayError, StoreError
from aamc_sdk.interfaces import ProcessLock
from aamc_sdk.serving.snapshots import restore, state_name, state_of
from aamc_sdk.types import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from aamc_sdk.interfaces import OnlineRouter, Store
    from aamc_sdk.types import Feedback

logger = logging.getLogger(__name__)

BATCH = 1000
"""Maximum number of log entries in one batch of learning."""
POLL_SECONDS = 1.0
"""Interval for polling the log without a notification: other processes may write to it too."""
SNAPSHOT_EVERY = 10_000
"""Log entries between two snapshots: a restart learns at most this number again."""


class Learner:
    """Calls ``router.learn`` with the entries of the log, on one thread, in log order.

    The constructor returns when the present log is learned: the router starts from its snapshot in the log, else from its initial
    state, and learns the entries after it. When a user is forgotten, or the log has lost entries or was replaced (a failover, an emptied
    server), a second router learns the log again from the initial state and the first entry. The served router scores by what it knew,
    without the personal state of forgotten users, until the second one has learned the log, and then takes over its state. When ``learn``
    raises, learning stops there and ``error`` says why; scoring and the log go on, and the next start resumes at the same entry.

    Args:
        store: The log.
        router: The router; its initial state is never learned from the log.
        report: Called with each feedback that is learned after the start.

    Attributes:
        position: The log's position up to which the router has learned; while the log is learned again, that of the second router.
        error: Why learning has stopped; None while it goes on.
    """

    def __init__(self, store: Store, router: OnlineRouter, report: Callable[[Feedback], None]) -> None:
        self.position = 0
        self.error: Exception | None = None
        self._store = store
        self._router = self._learning = router
        self._report = report
        self._changed = threading.Condition(ProcessLock("the learner"))  # type: ignore[arg-type]  # a lock
        self._requested = self._done = 0
        self._closed = False
        self._epoch = self._saved_position = self._reported_position = 0
        self._last = ""
        self._prepare()
        self._load_snapshot()
        self._catch_up(report=False)
        self._thread = threading.Thread(target=self._work, name="aamc-learner", daemon=True)
        self._thread.start()

    def wake(self) -> int:
        """Notify the thread that the log has grown; return the number that :meth:`flush` waits for."""
        with self._changed:
            self._requested += 1
            self._changed.notify_all()
            return self._requested

    def flush(self, timeout: float | None = None) -> None:
        """Return when the present log is learned, after ``timeout`` seconds, or when the log cannot be read at present.

        Raises:
            PluginError: The router failed to learn.
            ForkedError: This process is a fork of the one that made the learner.
        """
        requested = self.wake()
        with self._changed:
            self._changed.wait_for(lambda: self._done >= requested or self._stopped, timeout)
        if self.error is not None:
            raise PluginError(f"the router failed to learn and has stopped at position {self.position} of the log: {self.error!r}") from self.error

    def close(self) -> None:
        """Learn the present log, save a snapshot, and stop; closing twice does nothing."""
        if not self._closed:
            with suppress(PluginError):  # a failure to learn was reported when it happened
                self.flush()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        self._save_snapshot()

    @property
    def _stopped(self) -> bool:
        return self._closed or self.error is not None

    def _work(self) -> None:
        while not self._stopped:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._requested > self._done, POLL_SECONDS)
                requested = self._requested
            self._catch_up(report=True)
            with self._changed:
                self._done = requested
                self._changed.notify_all()

    def _catch_up(self, report: bool) -> None:
        try:
            while not self._stopped and self._learn_batch(report):
                pass
        except StoreAwayError as error:
            logger.debug("the log cannot be read at present: %s", error)
        except Exception as error:  # a router may raise anything; only its learning stops
            logger.exception("learning has stopped at position %d of the log", self.position)
            self.error = error

    def _learn_batch(self, report: bool) -> bool:
        """Learn the next batch of the log; return whether there was one."""
        again = self.position < self._reported_position
        limit = min(BATCH, self._reported_position - self.position) if again else BATCH
        experience = self._store.experience(self.position, limit)
        if experience.epoch != self._epoch or experience.follows not in (None, self._last):
            self._restart(experience.epoch)
            return True
        if experience.position == self.position:
            self._take_over()
            return False
        self._learning.learn(experience)
        self.position, self._last = experience.position, experience.last or ""
        if self.position - self._saved_position >= SNAPSHOT_EVERY:
            self._save_snapshot()
        if report and not again:
            for feedback in experience.feedback:
                self._report(feedback)
        return True

    def _prepare(self) -> None:
        """Record the initial state. The served router too drops the users that the log has forgotten."""
        for router in dict.fromkeys((self._router, self._learning)):
            router.prepare_replay(self._store)
        self._initial_state = state_of(self._learning)
        self._name = state_name(self._learning, self._initial_state)

    def _restart(self, epoch: int) -> None:
        """Return to the initial state and the first entry; feedback that is learned again is not reported again."""
        if self.position > 0:
            self._learning = self._second_router()
        self._prepare()
        self._reported_position = max(self._reported_position, self.position)
        self._epoch, self.position, self._saved_position, self._last = epoch, 0, 0, ""

    def _second_router(self) -> OnlineRouter:
        """Return a router in the initial state, to learn the log beside the one that serves.

        Raises:
            PluginError: The served router could not take over its state.
        """
        served = self._router
        if not served.snapshots:
            raise PluginError("the router must learn the log again from its start, and cannot reset itself: it has no snapshots; restart the program")
        second = type(served)(served.config, served.services)
        restore(second, self._initial_state)
        return second

    def _take_over(self) -> None:
        """Give the served router the state of the second one, which has learned the log."""
        if self._learning is not self._router:
            restore(self._router, state_of(self._learning))
            self._learning.close()
            self._learning = self._router

    def _load_snapshot(self) -> None:
        """Start at the position of the log's snapshot of the router, if there is one that can be read."""
        snapshot = self._store.snapshot(self._name) if self._router.snapshots else None
        if snapshot is None:
            return
        try:
            restore(self._router, snapshot.content)
        except CheckpointError as error:
            logger.warning("the log is learned again from its start, since the router's snapshot cannot be read: %s", error)
            restore(self._router, self._initial_state)
        else:
            self._epoch, self.position, self._saved_position, self._last = snapshot.epoch, snapshot.position, snapshot.position, snapshot.last

    def _save_snapshot(self) -> None:
        """Keep the router's state in the log, if it has learned since the last snapshot and did not fail halfway."""
        if not self._router.snapshots or self.error is not None or self.position == self._saved_position:
            return
        try:
            self._store.put_snapshot(self._name, Snapshot(self.position, state_of(self._learning), self._epoch, self._last))
        except StoreError as error:  # the next start learns more again, no less
            logger.warning("the router's snapshot could not be kept: %s", error)
        else:
            self._saved_position = self.position
