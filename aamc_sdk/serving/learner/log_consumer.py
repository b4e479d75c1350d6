"""The consumer of the log: a router learns the log's entries in log order, and its state is saved in the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import attrs

from aamc_sdk.errors import CheckpointError, PluginError
from aamc_sdk.interfaces import OnlineRouter, Store
from aamc_sdk.log.row_store import read_experience
from aamc_sdk.serving.learner.component_state import restore, state_name, state_of
from aamc_sdk.serving.learner.snapshots import NOWHERE, LogPoint, RouterSnapshots
from aamc_sdk.types import Feedback, Snapshot

logger = logging.getLogger(__name__)

BATCH = 1000
"""Maximum number of log entries in one batch of learning."""


class LogConsumer:
    """Lets a router learn the log. Used by one thread.

    When a user is forgotten, or the log has lost entries or was replaced (a failover, an emptied server), a second router learns the log again,
    from the state that the log still has or the initial one. Until it is done, the served router scores by its old state without the personal state
    of forgotten users; then it takes over the second one's state.

    Attributes:
        router: The served router, given in its initial state, which must contain nothing that it learned from the log.
        name: The name of the router's snapshots in the log.
        shared: Whether one process learns for all, and publishes its deltas.
        report: Called with each feedback that is learned for the first time; None while the log is learned at the start.
        snapshots: The router's snapshots in the log.
        point: The point up to which the router has learned; while the log is learned again, that of the second router.
        complete_at: Time of the monotonic clock at which the router last knew the whole log.
        overtaken: Whether another process saved a state first, so that it may be the elected one now.
    """

    def __init__(self, store: Store, router: OnlineRouter) -> None:
        self._store = store
        self.report: Callable[[Feedback], None] | None = None
        self.router = self._learning = router
        self._initial_state = state_of(router)
        self.name = state_name(router, router.origin() or self._initial_state)  # users in the initial state stay in the name when they are forgotten
        router.prepare_replay(store)
        self._initial_state = state_of(router)
        gives_deltas = router.snapshots and router.delta() is not None
        self.shared = store.shares_learning and gives_deltas
        self.snapshots = RouterSnapshots(store, self.name, shared=self.shared, gives_deltas=gives_deltas)
        self.point = self._served_point = LogPoint()
        self._reported_position = self._known_start = 0
        self.complete_at = time.monotonic()
        self.overtaken = False

    def learn_batch(self) -> bool:
        """Learn the next batch of the log; return whether there was one."""
        at, read_at = self.point, time.monotonic()
        again = at.position < self._reported_position
        experience = read_experience(self._store, at.position, min(BATCH, self._reported_position - at.position) if again else BATCH)
        if experience.epoch != at.epoch or experience.follows not in (None, at.last):
            self.restart(experience.epoch)
            return True
        if experience.start != self._known_start and self._load_beyond(experience.start):
            return True
        if experience.position == at.position:
            self._take_over()
            self.complete_at = read_at
            return False
        self._learning.learn(experience)
        self.point = LogPoint(experience.position, at.epoch, experience.last or "")
        if self.report is not None and not again:
            for feedback in experience.feedback:
                self.report(feedback)
        return True

    def save_if_due(self, caught_up: bool) -> None:
        """Save the learned state if it is time; ``caught_up`` says whether the whole log is learned."""
        if self.router.snapshots and self.snapshots.is_due(self.point, caught_up):
            self._save()

    def save_at_end(self) -> None:
        """Save the learned state before the process ends."""
        if self.router.snapshots:
            self.snapshots.close(self._learning, self.point)

    def load(self, accepts: Callable[[Snapshot, LogPoint], bool] = lambda snapshot, end: True) -> bool:
        """Load the newest state of the log; return False if the log has none, or ``accepts`` refuses it.

        ``accepts`` is called with the snapshot, and the point of the state after its deltas.
        """
        self._reported_position = max(self._reported_position, self.point.position)  # the state may be an earlier one
        try:
            found = self.snapshots.load(self._learning, accepts)
        except CheckpointError as error:
            logger.warning("the log is learned again from its start, since the router's snapshot cannot be read: %s", error)
            self.reset()
            return True
        if found is not None:
            self.point = found
        return found is not None

    def reset(self) -> None:
        """Go back to the initial state."""
        restore(self._learning, self._initial_state)
        self.point = LogPoint(epoch=self.point.epoch)
        self.snapshots.begin(self.point)

    def restart(self, epoch: int) -> None:
        """Learn the log again from its saved state, else from the initial one; feedback that is learned again is not reported again."""
        left = self.point
        self.router.prepare_replay(self._store)
        if left.position > 0 or self._learning is not self.router:
            second = self._second_router()
            if self._learning is self.router:
                self._served_point = left
            else:
                self._learning.close()
            self._learning = second
        self._reported_position = max(self._reported_position, left.position)
        self.point = NOWHERE  # if the log cannot be read now, the next batch leads here again
        self.snapshots.begin(self.point)
        if not (self.router.snapshots and self.load(lambda snapshot, end: end != left or left.epoch != epoch)):
            self.point = LogPoint(epoch=epoch)
            self.snapshots.begin(self.point)
        elif self.point.epoch != epoch:
            self._learning.prepare_replay(self._store)  # this state was saved for the entries that the log has dropped
            self.point = attrs.evolve(self.point, epoch=epoch)
            self.snapshots.begin(self.point)
            self._save()

    def resign(self) -> None:
        """Stop learning, since another process does it now; continue from the log's state."""
        if self._learning is not self.router:
            self._learning.close()
            self._learning, self.point = self.router, self._served_point
            self.snapshots.begin(NOWHERE)  # the log no longer has the served state
        elif self.point != self.snapshots.point:
            self._save()

    def _save(self) -> None:
        """Save the learned state; if another process learns too and was first, continue from its state."""
        if not self.snapshots.save(self._learning, self.point):
            self.overtaken = True
            self.load()

    def _load_beyond(self, start: int) -> bool:
        """After the log dropped its entries up to ``start``, load its saved state if that has learned more; return whether it was loaded."""
        at, self._known_start = self.point.position, start
        if self.router.snapshots and self.load(lambda snapshot, end: end.position > at):
            return True
        if start > at:
            logger.warning(
                "the log %s no longer has all entries from position %d to %d, which this router has not learned", self._store.name, at, start
            )
        return False

    def _second_router(self) -> OnlineRouter:
        """Return a router in the initial state, to learn the log while the present one serves."""
        served = self.router
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
        if self._learning is not self.router:
            self._save()  # a delta begins where the state was loaded
            restore(self.router, state_of(self._learning))
            self._learning.close()
            self._learning = self.router
