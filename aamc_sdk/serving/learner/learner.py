"""Online learning: one thread feeds the log's entries to the router, in order, or applies the deltas of another process that learned them."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import attrs

from aamc_sdk.errors import AamcError, CheckpointError, PluginError, StoreAwayError, is_ctrl_c
from aamc_sdk.interfaces import ProcessLock
from aamc_sdk.serving.learner.snapshots import LogPoint, SavedState, restore, state_name, state_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from aamc_sdk.interfaces import OnlineRouter, Store
    from aamc_sdk.types import Feedback, Snapshot

logger = logging.getLogger(__name__)

BATCH = 1000
"""Maximum number of log entries in one batch of learning."""
POLL_SECONDS = 1.0
"""Interval for polling the log without a notification: other processes may write to it too."""
FOLLOW_SECONDS = 0.25
"""Interval at which the other processes look for deltas."""
FLUSH_SECONDS = 0.02
"""The same interval while a caller waits in :meth:`Learner.flush`."""
ELECTION_SECONDS = 1.0
"""Interval at which each process asks whether it is elected."""
RELOAD_SECONDS = 2.0
"""Interval at which a process looks for a state that it can continue from, after it found none."""
START_SECONDS = 30.0
"""Time without progress after which a process that starts no longer waits for the elected one to learn the log."""

NOWHERE = LogPoint(epoch=-1)
"""A place that no log has, so that nothing continues from it."""


class Learner:
    """Keeps a router's state up with the log, on one thread.

    By default each process calls ``router.learn`` with the entries of the log, in log order. If the store shares learning and the router gives its
    deltas, only the elected process does so; it publishes the deltas in the log, and the others apply them. If that process is lost, the store
    elects another one, which continues from the last published state.

    The constructor returns when the present log is learned: the router starts from its snapshot in the log, else from its initial
    state, and learns the entries after it. When a user is forgotten, or the log has lost entries or was replaced (a failover, an emptied
    server), a second router learns the log again, from the state that the log still has or the initial one. Until it is done, the served router
    scores by its old state without the personal state of forgotten users; then it takes over the second one's state. When ``learn``
    raises, learning stops there and ``error`` says why; scoring and the log continue, and the next start resumes at the same entry.

    Args:
        store: The log.
        router: The router; its initial state is never learned from the log.
        report: Called with each feedback that this process learns after the start.

    Attributes:
        error: Why learning has stopped; None while it continues.
        is_learner: Whether this process learns, rather than applying another one's deltas.
    """

    def __init__(self, store: Store, router: OnlineRouter, report: Callable[[Feedback], None]) -> None:
        self.error: BaseException | None = None
        self._store = store
        self._router = self._learning = router
        self._report = report
        self._changed = threading.Condition(ProcessLock("the learner"))  # type: ignore[arg-type]  # a lock
        self._requested = self._done = self._flushing = 0
        self._closed = self._away = self._stalled = False
        self._point = self._served_point = LogPoint()
        self._reported_position = self._known_start = self._cleaned_epoch = 0
        self._damaged_position = -1
        self._current_at = time.monotonic()
        self._end: tuple[float, int] | None = None  # where the log ended at a time
        self._next_election = self._next_reload = 0.0
        self._initial_state = state_of(router)
        name = state_name(router, router.origin() or self._initial_state)  # forgotten users are in the name, which stays the same when they go
        router.prepare_replay(store)
        self._initial_state = state_of(router)
        gives_deltas = router.snapshots and router.delta() is not None
        self._name, self._shared = name, store.shares_learning and gives_deltas
        self.is_learner = not self._shared
        self._saved = SavedState(store, name, followed=self._shared, gives_deltas=gives_deltas)
        self._start()
        self._thread = threading.Thread(target=self._work, name="aamc-learner", daemon=True)
        self._thread.start()

    @property
    def position(self) -> int:
        """The log's position up to which the router has learned; while the log is learned again, that of the second router."""
        return self._point.position

    @property
    def learns_calls(self) -> bool:
        """Whether decisions and calls are learned as soon as they are in the log."""
        return self._router.learns_calls

    def wake(self) -> None:
        """Notify the thread that the log has grown."""
        with self._changed:
            self._requested += 1
            self._changed.notify_all()

    def flush(self, timeout: float | None = None) -> None:
        """Return when the router knows the present log, after ``timeout`` seconds, or when the log cannot be read now.

        Raises:
            PluginError: The router failed to learn.
            ForkedError: This process is a fork of the one that made the learner.
        """
        end = 0
        if self._shared:
            with suppress(StoreAwayError):
                end = self._store.position()
        with self._changed:
            self._requested += 1
            self._flushing += 1
            requested = self._requested
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._stopped or (self._done >= requested and (self._away or self._knows(end))), timeout)
            self._flushing -= 1
        if self.error is not None:
            stopped = f"{self._router.message_name} failed to learn, and has stopped at position {self.position} of the log"
            raise PluginError(f"{stopped}: {self.error!r}") from self.error

    def health(self) -> dict[str, float]:
        """Return plain numbers: see :meth:`aamc_sdk.MetaController.health`."""
        end = self.position if self._end is None else self._end[1]
        with suppress(StoreAwayError):
            end = self._store.position()
        lag, saved = max(0, end - self.position), self._saved
        return {
            "is_learner": float(self.is_learner),
            "learner_lag": lag,
            "staleness_s": time.monotonic() - self._current_at if lag or self._stalled or self._away else 0.0,
            "snapshot_age_s": 0.0 if saved.point == self._point or not self._router.snapshots else saved.age_seconds,
        }

    def close(self) -> None:
        """Learn the present log, save the state, and stop; closing twice does nothing. A process that follows another one only stops."""
        if not self._closed and self.is_learner:
            with suppress(PluginError):  # a failure to learn was reported when it happened
                self.flush()
        with self._changed:
            closed, self._closed = self._closed, True
            self._changed.notify_all()
        self._thread.join()
        if not closed and self.is_learner and self._router.snapshots and self.error is None:
            try:
                self._saved.close(self._learning, self._point)
            except (Exception, SystemExit) as error:  # a router's save may raise anything; the next start learns more again, no less
                logger.warning("the router's state could not be saved: %s", error if isinstance(error, AamcError) else repr(error))

    @property
    def _stopped(self) -> bool:
        return self._closed or self.error is not None

    def _knows(self, end: int) -> bool:
        return self.is_learner or (not self._stalled and self._point.position >= end)

    def _start(self) -> None:
        """Begin with the newest state of the log, and bring it up to the present end."""
        try:
            if self._router.snapshots:
                self._load()
            end, waited = self._store.position() if self._shared else 0, time.monotonic()
        except StoreAwayError as error:
            logger.debug("the log cannot be read now: %s", error)
            return
        reached = -1
        while True:
            self._catch_up(report=False)
            if self._stopped or self._away or self._knows(end):
                return
            if self._point.position > reached:
                reached, waited = self._point.position, time.monotonic()
            if time.monotonic() - waited > START_SECONDS:
                logger.warning("no process learns the log %s, so the router starts without its last %d positions", self._store.name, end - reached)
                return
            time.sleep(FLUSH_SECONDS)

    def _work(self) -> None:
        while not self._stopped:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or (self.is_learner and self._requested > self._done), self._pause())
                requested = self._requested
            self._catch_up(report=True)
            with self._changed:
                self._done = requested
                self._changed.notify_all()

    def _pause(self) -> float:
        """Return the time until the thread looks at the log without being asked."""
        if not self._shared:
            return POLL_SECONDS
        if self.is_learner:
            return self._saved.pause(self._point)
        return FLUSH_SECONDS if self._flushing else FOLLOW_SECONDS

    def _catch_up(self, report: bool) -> None:
        try:
            self._away = False
            while not self._stopped and self._is_elected() and self._learn_batch(report):
                self._save_if_due(caught_up=False)
            if self.is_learner:
                self._save_if_due(caught_up=True)
            else:
                self._follow()
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
        now = time.monotonic()
        if self._shared and now >= self._next_election:
            self._next_election = now + ELECTION_SECONDS
            elected = self._store.is_learner(self._name)
            if elected != self.is_learner:
                logger.info("this process %s the log %s from position %d on", "learns" if elected else "follows", self._store.name, self.position)
                if not elected:
                    self._resign()
                elif self._damaged_position >= 0:
                    if not self._load():
                        self._reset()
                    self._damaged_position = -1
                else:
                    self._follow()
                self._done = 0  # flush waits for what is learned from here on
                self.is_learner, self._stalled = elected, False
        return self.is_learner

    def _learn_batch(self, report: bool) -> bool:
        """Learn the next batch of the log; return whether there was one."""
        at, asked = self._point, time.monotonic()
        again = at.position < self._reported_position
        experience = self._store.experience(at.position, min(BATCH, self._reported_position - at.position) if again else BATCH)
        if experience.epoch != at.epoch or experience.follows not in (None, at.last):
            self._restart(experience.epoch)
            return True
        if experience.start != self._known_start and self._load_beyond(experience.start):
            return True
        if experience.position == at.position:
            self._take_over()
            self._current_at = asked
            return False
        self._learning.learn(experience)
        self._point = LogPoint(experience.position, at.epoch, experience.last or "")
        if report and not again:
            for feedback in experience.feedback:
                self._report(feedback)
        return True

    def _save_if_due(self, caught_up: bool) -> None:
        if self._router.snapshots and self._saved.is_due(self._point, caught_up):
            self._save()

    def _save(self) -> None:
        """Save the learned state; if another process learns too and was first, continue from its state."""
        if not self._saved.save(self._learning, self._point):
            self._next_election = 0.0
            self._load()

    def _load(self, accepts: Callable[[Snapshot, LogPoint], bool] = lambda snapshot, end: True) -> bool:
        """Load the newest state of the log, if it has one that is accepted; return whether it has."""
        self._reported_position = max(self._reported_position, self.position)  # the state may be an earlier one
        try:
            found = self._saved.load(self._learning, accepts)
        except CheckpointError as error:
            logger.warning("the log is learned again from its start, since the router's snapshot cannot be read: %s", error)
            self._reset()
            return True
        if found is not None:
            self._point = found
        return found is not None

    def _reset(self) -> None:
        """Go back to the initial state."""
        restore(self._learning, self._initial_state)
        self._point = LogPoint(epoch=self._point.epoch)
        self._saved.begin(self._point)

    def _load_beyond(self, start: int) -> bool:
        """After the log dropped its entries up to ``start``, load its saved state if that has learned more; return whether it was loaded."""
        at, self._known_start = self.position, start
        if self._router.snapshots and self._load(lambda snapshot, end: end.position > at):
            return True
        if start > at:
            logger.warning(
                "the log %s no longer has all entries from position %d to %d, which this router has not learned", self._store.name, at, start
            )
        return False

    def _restart(self, epoch: int) -> None:
        """Go back to the log's saved state, else to the initial one; feedback that is learned again is not reported again."""
        left = self._point
        self._router.prepare_replay(self._store)
        if left.position > 0 or self._learning is not self._router:
            second = self._second_router()
            if self._learning is self._router:
                self._served_point = left
            else:
                self._learning.close()
            self._learning = second
        self._reported_position = max(self._reported_position, left.position)
        self._point = NOWHERE  # if the log cannot be read now, the next batch leads here again
        self._saved.begin(self._point)
        if not (self._router.snapshots and self._load(lambda snapshot, end: end != left or left.epoch != epoch)):
            self._point = LogPoint(epoch=epoch)
            self._saved.begin(self._point)
        elif self._point.epoch != epoch:
            self._learning.prepare_replay(self._store)  # this state was saved for the entries that the log has dropped
            self._point = attrs.evolve(self._point, epoch=epoch)
            self._saved.begin(self._point)
            self._save()

    def _second_router(self) -> OnlineRouter:
        """Return a router in the initial state, to learn the log while the present one serves."""
        served = self._router
        if not served.snapshots:
            again = f"{served.message_name} must learn the log again from its start, and cannot reset itself"
            raise PluginError(f"{again}: it has no snapshots; restart the program")
        second = type(served)(served.config, served.services)
        second.message_name = served.message_name
        restore(second, self._initial_state)
        second.prepare_replay(self._store)
        self._initial_state = state_of(second)
        return second

    def _take_over(self) -> None:
        """Give the served router the state of the second one, which has learned the log."""
        if self._learning is not self._router:
            self._save()  # a delta begins where the state was loaded
            restore(self._router, state_of(self._learning))
            self._learning.close()
            self._learning = self._router

    def _resign(self) -> None:
        """Stop learning, since another process does it now; continue from the log's state."""
        if self._learning is not self._router:
            self._learning.close()
            self._learning, self._point = self._router, self._served_point
            self._saved.begin(NOWHERE)  # the log no longer has the served state
        elif self._point != self._saved.point:
            self._save()

    def _follow(self) -> None:
        """Apply the deltas that another process has published, or load its state where they do not continue from this one's.

        Deltas continue only from a state in the log. A process that resigned before it published everything loads the log's state.
        """
        self._note_end()
        self._stalled = self._point != self._saved.point or self.position == self._damaged_position
        if not self._stalled:
            try:
                self._stalled = not self._saved.follow(self._router)
            except CheckpointError as error:
                logger.warning("a delta of the router's state cannot be read, so the next full snapshot is waited for: %s", error)
                self._stalled, self._damaged_position = True, self._saved.point.position
            self._point = self._saved.point
        if self._stalled and time.monotonic() >= self._next_reload:
            self._next_reload = time.monotonic() + RELOAD_SECONDS
            self._load_published()

    def _load_published(self) -> None:
        """Load the state that another process has published, unless it is behind this one's, as after a user was forgotten."""
        at = self._point
        epoch = self._store.experience(at.position, 1).epoch
        if epoch != at.epoch and epoch != self._cleaned_epoch:
            self._router.prepare_replay(self._store)  # forgotten users are dropped at once
            self._cleaned_epoch = epoch

        def helps(snapshot: Snapshot, end: LogPoint) -> bool:
            beyond_damage = self._damaged_position < 0 or snapshot.position > self._damaged_position
            return beyond_damage and snapshot.epoch == epoch and (at.epoch == epoch or end.position >= at.position)

        if self._load(helps):
            self._stalled, self._damaged_position = False, -1

    def _note_end(self) -> None:
        """Ask for the log's end; once the end asked for before is reached, note that the whole log was known then."""
        if self._end is None or self.position >= self._end[1]:
            if self._end is not None:
                self._current_at = max(self._current_at, self._end[0])
            asked = time.monotonic()
            self._end = asked, self._store.position()
