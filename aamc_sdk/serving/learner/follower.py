"""The follower of the process that learns: a router applies the deltas that are published in the log."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from aamc_sdk.errors import CheckpointError

if TYPE_CHECKING:
    from aamc_sdk.interfaces import Store
    from aamc_sdk.serving.learner.log_consumer import LogConsumer
    from aamc_sdk.serving.learner.snapshots import LogPoint
    from aamc_sdk.types import Snapshot

logger = logging.getLogger(__name__)

RELOAD_SECONDS = 2.0
"""Interval at which a process looks for a state that it can continue from, after it found none."""
_UNDAMAGED = -1


class Follower:
    """Keeps the router of a :class:`LogConsumer` up with the deltas that the elected process publishes. Used by one thread.

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
        """Apply the newest deltas, or load a published state where they do not continue from this one's.

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
            self._next_reload = time.monotonic() + RELOAD_SECONDS
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
        """Ask for the log's end; once the end asked for before is reached, note that the whole log was known then."""
        if self.end is None or self._consumer.point.position >= self.end:
            if self.end is not None:
                self._consumer.complete_at = max(self._consumer.complete_at, self._asked_at)
            asked_at = time.monotonic()
            self.end, self._asked_at = self._store.position(), asked_at
