"""A router's state in the log: a full snapshot, and the deltas that continue from it."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

import attrs

from aamc_sdk.errors import CheckpointError, StoreError
from aamc_sdk.interfaces import OnlineRouter, Store
from aamc_sdk.serving.learner.component_state import restore, state_of, without_collections
from aamc_sdk.types import Snapshot, StateDelta

logger = logging.getLogger(__name__)

SNAPSHOT_EVERY = 10_000
"""Log entries between two full snapshots of a router that gives no deltas: a restart learns at most this number again."""
DELTA_EVERY = 2_000
"""Log entries after which a delta is saved if each process learns for itself."""
SHARE_S = 0.5
"""Time between two publications of deltas if one process learns for all; also the interval at which it polls the log."""
RETRY_S = 5.0
"""Time until a failed save is tried again."""
FULL_S = 3600.0
"""Maximum time between two full snapshots: retention drops only entries that each active router's snapshot has learned."""
START_FULL_S = 60.0
"""The same after a restart: short-lived processes would otherwise never save a full snapshot, and retention would drop nothing."""
FULL_SNAPSHOT_DELAY_S = 3.0
"""Time between taking a full snapshot and saving it if others follow: within it they apply the deltas that it replaces."""
MAX_DELTA_SHARE = 0.5
"""Size of all deltas after a full snapshot, as a share of its own, above which another one is saved: a start reads both."""
CHEAP_BYTES = 1_000_000
"""Size of a full snapshot up to which one is saved at the end."""


@attrs.frozen
class LogPoint:
    """The point of the log up to which a state has learned.

    Attributes:
        position: The log's position.
        epoch: Number of times that a user was forgotten before.
        last: The name of the log's entry at that position.
    """

    position: int = 0
    epoch: int = 0
    last: str = ""

    @classmethod
    def of(cls, saved: Snapshot | StateDelta) -> LogPoint:
        """Return the point of a saved state."""
        return cls(saved.position, saved.epoch, saved.last)


NOWHERE = LogPoint(epoch=-1)
"""A point that no log has, so that nothing continues from it."""


class RouterSnapshots:
    """The snapshots of one router in the log: saves its state when it is time, and loads the states that other processes save. Used by one thread.

    ``name`` is that of :func:`state_name`. If ``shared``, one process learns for all, and the others follow its deltas; ``gives_deltas`` says whether
    the router gives them, so that not each snapshot is a full one.

    Attributes:
        point: The point of the newest state that this process saved or loaded.
    """

    def __init__(self, store: Store, name: str, *, shared: bool, gives_deltas: bool) -> None:
        self._store, self._name = store, name
        self._shared, self._gives_deltas = shared, gives_deltas
        self._next_save = 0.0
        self._failed = self._refused = False  # whether the last attempt to save failed, or was refused as another process had been first
        self.begin(LogPoint())

    def begin(self, point: LogPoint) -> None:
        """Begin at a point for which the log has no state of the router."""
        self.point = point
        self._taken = point  # up to which the router has given its deltas
        self._empty = True  # the log has no state of the router, as far as this process knows
        self._full_next = True  # the log has no state that deltas continue from
        self._unsent: deque[StateDelta] = deque()
        self._sending = False  # the first of them may be in the log already
        self._delayed: tuple[float, Snapshot] | None = None  # a full snapshot, and the time at which it is saved
        self._full_bytes = self._delta_bytes = 0  # sizes of the last full snapshot, and of the deltas after it
        self._full_at = self._saved_at = time.monotonic()

    @property
    def age_seconds(self) -> float:
        """Time since a state was saved or loaded."""
        return time.monotonic() - self._saved_at

    def pause(self, point: LogPoint) -> float:
        """Return the time until the state of a process that learns for all, at a point of the log, is saved."""
        return SHARE_S if point == self.point else max(0.0, self._next_save - time.monotonic())

    def is_due(self, point: LogPoint, caught_up: bool) -> bool:
        """Return whether to save the state at a point of the log: enough was learned, or it is time. ``caught_up``: the whole log is learned."""
        waits = time.monotonic() < self._next_save
        if waits and self._failed:
            return False
        if self._shared:
            learned_enough = point != self.point and not waits
        else:
            learned_enough = point.position - self.point.position >= (SNAPSHOT_EVERY if self._full_next else DELTA_EVERY)
        return learned_enough or self._full_due or (caught_up and self._empty)

    @property
    def _full_due(self) -> bool:
        """Whether to save a full snapshot although nothing was learned: retention counts routers that renew theirs."""
        now = time.monotonic()
        return now - self._full_at >= FULL_S if self._delayed is None else now >= self._delayed[0]

    def load(self, router: OnlineRouter, accepts: Callable[[Snapshot, LogPoint], bool]) -> LogPoint | None:
        """Load the newest state of the log into a router; return its point, or None if the log has none or ``accepts`` refuses it.

        ``accepts`` is called with the snapshot, and the point of the state after its deltas. After a CheckpointError the router's state is undefined.
        """
        snapshot = self._store.snapshot(self._name)
        if snapshot is None:
            return None
        deltas = self._store.deltas(self._name, snapshot.position, snapshot.epoch) or ()
        if not accepts(snapshot, LogPoint.of(deltas[-1] if deltas else snapshot)):
            return None
        with suppress(StoreError):  # the next full snapshot does it too
            self._store.put_snapshot(self._name, snapshot)  # renews it: retention waits for a router that learns again after a long stop
        with without_collections():
            self._load_snapshot(router, snapshot)
            try:
                self._apply(router, deltas)
            except CheckpointError as error:
                logger.warning("the log is learned again from the router's last full snapshot on, since a delta cannot be read: %s", error)
                self._load_snapshot(router, snapshot)
                self._full_next = True
        if deltas:
            self._full_at -= FULL_S - START_FULL_S
        return self.point

    def follow(self, router: OnlineRouter) -> bool:
        """Apply the deltas that continue from this state; return False if none do, so that another one must be loaded."""
        deltas = self._store.deltas(self._name, self.point.position, self.point.epoch)
        self._apply(router, deltas or ())
        return deltas is not None

    def save(self, router: OnlineRouter, point: LogPoint) -> bool:
        """Save the router's state at a point of the log; return False if another process saved one first, whose state is to be loaded.

        A second time in succession, the next state is a full snapshot instead: no deltas continue from the log's state. What the store or
        the disk does not take is saved later; until then, the next start learns more again, no less.
        """
        self._next_save = time.monotonic() + SHARE_S
        try:
            saved = self._put(router, point)
        except (StoreError, OSError) as error:  # the state is written to temporary files first
            if not self._failed:
                logger.warning("the router's state could not be saved, which is tried again: %s", error)
            self._failed, self._next_save = True, time.monotonic() + RETRY_S
            return True
        self._failed = False
        again, self._refused = self._refused, not saved
        return saved or again or not self._shared

    def _put(self, router: OnlineRouter, point: LogPoint) -> bool:
        """Put the state into the log, as a delta or in full; return False if another process put one there first.

        After a StoreError the next call tries again.
        """
        if not self._full_next and point != self._taken:
            self._full_next = True  # a delta that fails may have dropped its changes
            delta = router.delta() if self._gives_deltas else None
            self._full_next = delta is None
            if delta is not None:
                self._unsent.append(StateDelta(self._taken.position, point.position, delta, point.epoch, point.last))
                self._taken = point
        if not self._send():
            self._unsent.clear()
            self._delayed = None
            self._full_next = True
            return False
        if self._full_next:
            self._save_full(router, point)
            return True
        if self._delayed is None and (self._delta_bytes > MAX_DELTA_SHARE * self._full_bytes or self._full_due):
            taken = Snapshot(point.position, state_of(router), point.epoch, point.last)
            self._note_full(taken)
            self._delayed = (time.monotonic() + (FULL_SNAPSHOT_DELAY_S if self._shared else 0.0), taken)
        self._save_delayed()
        return True

    def _save_full(self, router: OnlineRouter, point: LogPoint) -> None:
        """Save a full snapshot of a router at a point of the log."""
        if self._gives_deltas:
            router.delta()  # it is part of the snapshot
        snapshot = Snapshot(point.position, state_of(router), point.epoch, point.last)
        self._store.put_snapshot(self._name, snapshot)
        self._unsent.clear()
        self._delayed = None
        self._note_full(snapshot)
        self._note_saved(point)
        self._taken, self._full_next = point, False

    def close(self, router: OnlineRouter, point: LogPoint) -> None:
        """Save the last state, in full if that is cheap, or if the log takes no delta, such as that of a store that keeps none."""
        saved = self._put(router, point)
        if not self._shared and (not saved or (self._delta_bytes and self._full_bytes <= CHEAP_BYTES)):
            self._save_full(router, point)

    def _send(self) -> bool:
        """Save the deltas that are not saved yet; return whether they continue from the log's newest state."""
        while self._unsent:
            delta = self._unsent[0]
            again, self._sending = self._sending, True  # stays true where the store raises: it may have saved them
            saved = self._store.put_delta(self._name, delta)
            self._sending = False
            if not saved and not (again and self._store.deltas(self._name, delta.position, delta.epoch) is not None):
                return False
            self._unsent.popleft()
            self._delta_bytes += len(delta.content)
            self._note_saved(LogPoint.of(delta))
        return True

    def _save_delayed(self) -> None:
        """Save the full snapshot that was taken before, once it is time."""
        if self._delayed is not None and time.monotonic() >= self._delayed[0]:
            self._store.put_snapshot(self._name, self._delayed[1])
            self._delayed = None
            self._saved_at = time.monotonic()

    def _load_snapshot(self, router: OnlineRouter, snapshot: Snapshot) -> None:
        restore(router, snapshot.content)
        self.begin(LogPoint.of(snapshot))
        self._note_full(snapshot)
        self._empty = self._full_next = False

    def _apply(self, router: OnlineRouter, deltas: Sequence[StateDelta]) -> None:
        for delta in deltas:
            router.apply_delta(delta.content)
            self._delta_bytes += len(delta.content)
            self._note_saved(LogPoint.of(delta))
            self._taken = self.point

    def _note_full(self, snapshot: Snapshot) -> None:
        self._full_bytes, self._delta_bytes, self._full_at = len(snapshot.content), 0, time.monotonic()

    def _note_saved(self, point: LogPoint) -> None:
        self.point, self._saved_at = point, time.monotonic()
        self._empty = False
