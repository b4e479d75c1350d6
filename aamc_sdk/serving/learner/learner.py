"""Online learning: one thread keeps a router up to date with the log, by learning it or by following the process that learns."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from aamc_sdk.concurrency import ForkCheckedLock
from aamc_sdk.errors import AamcError, CheckpointError, PluginError, StoreAwayError, is_ctrl_c
from aamc_sdk.interfaces import OnlineRouter, Store
from aamc_sdk.serving.learner.log_consumer import LogConsumer
from aamc_sdk.serving.learner.snapshots import LogPoint
from aamc_sdk.types import Feedback, Snapshot

logger = logging.getLogger(__name__)

POLL_S = 1.0
"""Interval for polling the log without a notification: other processes may write to it too."""
FOLLOW_S = 0.25
"""Interval at which the other processes look for deltas."""
FLUSH_S = 0.02
"""The same interval while a caller waits in :meth:`Learner.flush`."""
ELECTION_S = 1.0
"""Interval at which each process asks whether it is elected."""
START_S = 30.0
"""Time without progress after which a process that starts no longer waits for the elected one to learn the log."""
SLOW_CLOSE_S = 5.0
"""Time after which a warning names the router that closing waits for."""
RELOAD_S = 2.0
"""Interval at which a process looks for a state that it can continue from, after it found none."""
CLOSE_S = 10.0
"""Maximum time that closing spends on learning; the next start learns the rest."""
PROGRESS_S = 10.0
"""Interval at which a message tells how far the log is learned, while much of it is left."""
FEW_POSITIONS = 10_000
"""Number of positions that are learned without such messages."""
_UNDAMAGED = -1


class Learner:
    """Keeps a router's state up to date with the log, on one thread.

    By default each process calls ``router.learn`` with the entries of the log, in log order. If the store shares learning and the router gives its
    deltas, only the elected process does so; it publishes the deltas in the log, and the others apply them. If that process is lost, the store
    elects another one, which continues from the last published state.

    The constructor returns when the present log is learned: the router starts from its snapshot in the log, else from its initial state, and learns
    the entries after it. When ``learn`` raises, learning stops there and ``error`` says why; scoring and the log continue, and the next start resumes
    at the same entry.

    Args:
        store: The log.
        router: The router in its initial state, which must contain nothing that it learned from the log.
        report: Called with each feedback that this process learns after the start.

    Attributes:
        error: Why learning has stopped; None while it continues.
        is_learner: Whether this process learns, rather than applying another one's deltas.
    """

    def __init__(self, store: Store, router: OnlineRouter, report: Callable[[Feedback], None]) -> None:
        self.error: BaseException | None = None
        self._store, self._router = store, router
        self._lock = ForkCheckedLock("the learner")
        self._changed = threading.Condition(self._lock.held)
        self._requested = self._done = self._flushing = 0
        self._closed = self._away = False
        self._next_election = 0.0
        self._consumer = LogConsumer(store, router)
        self._follower = Follower(store, self._consumer)
        self.is_learner = not self._consumer.shared
        self._start()
        self._consumer.report = report
        self._thread = threading.Thread(target=self._work, name="aamc-learner", daemon=True)
        self._thread.start()

    @property
    def position(self) -> int:
        """The log's position up to which the router has learned; while the log is learned again, that of the second router."""
        return self._consumer.point.position

    @property
    def learns_attempts(self) -> bool:
        """Whether decisions and attempts are learned as soon as they are in the log."""
        return self._router.learns_attempts

    def wake(self) -> None:
        """Notify the thread that the log has grown."""
        with self._lock.held:
            self._requested += 1
            self._changed.notify_all()

    def flush(self, timeout: float | None = None) -> None:
        """Return when the router knows the present log, after ``timeout`` seconds, or when the log cannot be read now.

        Raises:
            PluginError: The router failed to learn.
            ForkedError: This process is a fork of the one that made the learner.
        """
        end = 0
        if self._consumer.shared:
            with suppress(StoreAwayError):
                end = self._store.position()
        with self._lock.held:
            self._requested += 1
            self._flushing += 1
            requested = self._requested
            self._changed.notify_all()
            try:
                self._changed.wait_for(lambda: self._stopped or (self._done >= requested and (self._away or self._knows(end))), timeout)
            finally:
                self._flushing -= 1
        if self.error is not None:
            stopped = f"{self._router.message_name} failed to learn, and has stopped at position {self.position} of the log"
            raise PluginError(f"{stopped}: {self.error!r}") from self.error

    def health(self, end: float | None = None) -> dict[str, float]:
        """Return plain numbers: see :meth:`aamc_sdk.MetaController.health`. ``end`` is the log's last position; None if it cannot be read now."""
        if end is None:
            end = self.position if self._follower.end is None else self._follower.end
        lag, snapshots = max(0, end - self.position), self._consumer.snapshots
        is_behind = lag > 0 or self._follower.stalled or self._away
        return {
            "is_learner": float(self.is_learner),
            "learner_lag": lag,
            "staleness_s": time.monotonic() - self._consumer.complete_at if is_behind else 0.0,
            "snapshot_age_s": 0.0 if snapshots.point == self._consumer.point or not self._router.snapshots else snapshots.age_seconds,
        }

    def close(self) -> None:
        """Learn the present log, for ten seconds at most, save the state, and stop; closing twice does nothing.

        A process that follows another one only stops.
        """
        slow = threading.Timer(SLOW_CLOSE_S, self._warn_of_learning)
        slow.daemon = True
        slow.start()
        try:
            if not self._closed and self.is_learner:
                with suppress(PluginError):  # a failure to learn was reported when it happened
                    self.flush(CLOSE_S)
            with self._lock.held:
                closed, self._closed = self._closed, True
                self._changed.notify_all()
            self._thread.join()
        finally:
            slow.cancel()
            slow.join()
        if not closed and self.is_learner and self.error is None:
            try:
                self._consumer.save_at_end()
            except (Exception, SystemExit) as error:  # a router's save may raise anything; the next start learns more again, no less
                logger.warning("the router's state could not be saved: %s", error if isinstance(error, AamcError) else repr(error))

    def _warn_of_learning(self) -> None:
        logger.warning("closing waits for %s to learn the log; it is at position %d", self._router.message_name, self.position)

    @property
    def _stopped(self) -> bool:
        return self._closed or self.error is not None

    def _knows(self, end: int) -> bool:
        return self.is_learner or (not self._follower.stalled and self.position >= end)

    def _start(self) -> None:
        """Begin with the newest state of the log, and bring it up to the present end."""
        try:
            if self._router.snapshots:
                self._consumer.load()
            end, waited = self._store.position() if self._consumer.shared else 0, time.monotonic()
        except StoreAwayError as error:
            logger.debug("the log cannot be read now: %s", error)
            return
        reached = -1
        while True:
            self._catch_up()
            if self._stopped or self._away or self._knows(end):
                return
            if self.position > reached:
                reached, waited = self.position, time.monotonic()
            if time.monotonic() - waited > START_S:
                logger.warning("no process learns the log %s, so the router starts without its last %d positions", self._store.name, end - reached)
                return
            time.sleep(FLUSH_S)

    def _work(self) -> None:
        while not self._stopped:
            with self._lock.held:
                self._changed.wait_for(lambda: self._closed or (self.is_learner and self._requested > self._done), self._pause())
                requested = self._requested
            self._catch_up()
            with self._lock.held:
                self._done = requested
                self._changed.notify_all()

    def _pause(self) -> float:
        """Return the time until the thread looks at the log without being asked."""
        if not self._consumer.shared:
            return POLL_S
        if self.is_learner:
            return self._consumer.snapshots.pause(self._consumer.point)
        return FLUSH_S if self._flushing else FOLLOW_S

    def _catch_up(self) -> None:
        try:
            self._away, noted = False, time.monotonic()
            while not self._stopped and self._is_elected():
                caught_up = not self._consumer.learn_batch()
                self._consumer.save_if_due(caught_up)
                if caught_up and not self._consumer.overtaken:  # else the state is an earlier one, which another process saved
                    break
                if time.monotonic() >= noted + PROGRESS_S:
                    noted, end = time.monotonic(), self._store.position()
                    if end - self.position > FEW_POSITIONS:
                        logger.warning("learning the log %s: %d of %d entries", self._store.name, self.position, end)
            if not self.is_learner:
                self._follower.follow()
        except StoreAwayError as error:
            self._away = True
            logger.debug("the log cannot be read now: %s", error)
        except BaseException as error:  # a router may raise anything; only its learning stops
            if is_ctrl_c(error):  # during the start
                raise
            logger.exception("learning has stopped at position %d of the log: %s learns no further", self.position, self._router.message_name)
            self.error = error

    def _is_elected(self) -> bool:
        """Return whether this process learns; ask the store from time to time."""
        now, consumer = time.monotonic(), self._consumer
        if consumer.shared and (now >= self._next_election or consumer.overtaken):
            self._next_election, consumer.overtaken = now + ELECTION_S, False
            elected = self._store.is_learner(consumer.name)
            if elected != self.is_learner:
                logger.info("this process %s the log %s from position %d on", "learns" if elected else "follows", self._store.name, self.position)
                if elected:
                    self._follower.promote()
                else:
                    consumer.resign()
                with self._lock.held:  # flush reads these together
                    self._done = 0  # flush waits for what is learned from here on
                    self.is_learner, self._follower.stalled = elected, False
        return self.is_learner


class Follower:
    """Applies the deltas that the elected process publishes to the router of a :class:`LogConsumer`. Used by one thread.

    Attributes:
        stalled: Whether no published deltas continue from the router's state, so that a whole state must be loaded.
        end: The log's last position when it was last asked for; None before.
    """

    def __init__(self, store: Store, consumer: LogConsumer) -> None:
        self._store, self._consumer = store, consumer
        self.stalled = False
        self.end: int | None = None
        self._asked_at = 0.0  # when the end was asked for
        self._next_reload = 0.0
        self._damaged_position = _UNDAMAGED  # from which unreadable deltas continue: the router may have applied a part of them
        self._cleaned_epoch = 0

    def follow(self) -> None:
        """Apply the newest deltas, or load a published state if they do not continue from this one.

        Deltas continue only from a state in the log. A process that resigned before it published everything loads the log's state.
        """
        consumer = self._consumer
        self._note_end()
        self.stalled = consumer.point != consumer.snapshots.point or consumer.point.position == self._damaged_position
        if not self.stalled:
            try:
                self.stalled = not consumer.snapshots.follow(consumer.router)
            except CheckpointError as error:
                logger.warning("a delta of the router's state cannot be read, so the next full snapshot is waited for: %s", error)
                self.stalled, self._damaged_position = True, consumer.snapshots.point.position
            consumer.point = consumer.snapshots.point
        if self.stalled and time.monotonic() >= self._next_reload:
            self._next_reload = time.monotonic() + RELOAD_S
            self._load_published()

    def promote(self) -> None:
        """Prepare to learn: bring the router to the newest published state, or to the initial one where that cannot be read."""
        if self._damaged_position == _UNDAMAGED:
            self.follow()
        if self._damaged_position != _UNDAMAGED:
            if not self._consumer.load():
                self._consumer.reset()
            self._damaged_position = _UNDAMAGED

    def _load_published(self) -> None:
        """Load the state that another process has published, unless it is behind this one's, as after a user was forgotten."""
        at = self._consumer.point
        epoch = self._store.experience(at.position, 1).epoch
        if epoch != at.epoch and epoch != self._cleaned_epoch:
            self._consumer.router.prepare_replay(self._store)  # forgotten users are dropped at once
            self._cleaned_epoch = epoch

        def helps(snapshot: Snapshot, end: LogPoint) -> bool:
            beyond_damage = self._damaged_position == _UNDAMAGED or snapshot.position > self._damaged_position
            return beyond_damage and snapshot.epoch == epoch and (at.epoch == epoch or end.position >= at.position)

        if self._consumer.load(helps):
            self.stalled, self._damaged_position = False, _UNDAMAGED

    def _note_end(self) -> None:
        """Ask for the log's end if the last known one is reached; the router then knew the whole log at the time of that earlier question."""
        if self.end is None or self._consumer.point.position >= self.end:
            if self.end is not None:
                self._consumer.complete_at = max(self._consumer.complete_at, self._asked_at)
            asked_at = time.monotonic()
            self.end, self._asked_at = self._store.position(), asked_at
