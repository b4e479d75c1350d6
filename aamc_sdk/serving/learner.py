"""Online learning: one thread takes the log's entries to the router, in their order."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from aamc_sdk.errors import CheckpointError, PluginError, StoreAwayError, StoreError
from aamc_sdk.interfaces import Part, Router
from aamc_sdk.serving.snapshots import restore, state_name, state_of
from aamc_sdk.types import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from aamc_sdk.interfaces import Store
    from aamc_sdk.types import Feedback

logger = logging.getLogger(__name__)

STRETCH = 1000
"""Entries of the log that are learned at once."""
POLL_SECONDS = 1.0
"""How often the log is looked at unasked: other processes may write to it as well."""
VIEW_EVERY = 10_000
"""Entries of the log after which the router's state is kept in it: a restart learns no more than these again."""


def learns(router: Router) -> bool:
    """Return whether a router learns from experience at all."""
    return type(router).learn is not Router.learn


class Learner:
    """Calls ``router.learn`` with what the log holds after a position, on one thread, in log order.

    What the log holds already is learned before the constructor returns: the router starts from the
    view that the log keeps of it, else as it is, and learns what came after. So a restarted process goes on
    where it was. When somebody is forgotten, or the log has lost entries or is another one (a failover, a
    server that was emptied), the router starts again as it was before it learned, from the log's first
    entry. When ``learn`` raises, learning stops there and ``error`` says why; scoring and the log go on,
    and the next start takes up at the same entry.

    Args:
        store: The log.
        router: Who learns; what it knows already is none of the log's.
        tell: Called with each feedback that was learned after the start.

    Attributes:
        position: The log's position that the router has learned up to.
        error: Why learning has stopped, or None.
    """

    def __init__(self, store: Store, router: Router, tell: Callable[[Feedback], None]) -> None:
        self.position = 0
        self.error: Exception | None = None
        self._store = store
        self._router = router
        self._tell = tell
        self._changed = threading.Condition()
        self._asked = self._done = 0
        self._closed = False
        self._saves = type(router).save is not Part.save  # without, its state is nothing but what it learns from the log
        self._epoch = self._kept = self._told = 0
        self._last = ""
        self._begin()
        self._take_up_view()
        self._catch_up(tell=False)
        self._thread = threading.Thread(target=self._work, name="aamc-learner", daemon=True)
        self._thread.start()

    def wake(self) -> int:
        """Say that the log has grown; return the number that :meth:`flush` waits for."""
        with self._changed:
            self._asked += 1
            self._changed.notify_all()
            return self._asked

    def flush(self, timeout: float | None = None) -> None:
        """Return when all that the log holds now is learned, or after ``timeout`` seconds.

        Raises:
            PluginError: The router failed to learn.
        """
        asked = self.wake()
        with self._changed:
            self._changed.wait_for(lambda: self._done >= asked or self._stopped, timeout)
        if self.error is not None:
            raise PluginError(f"the router failed to learn and has stopped at position {self.position} of the log: {self.error!r}") from self.error

    def close(self) -> None:
        """Learn what the log holds now, keep what was learned in it, and stop; closing twice does nothing."""
        if not self._closed:
            with suppress(PluginError):  # what cannot be learned was reported when it failed
                self.flush()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        self._keep_view()

    @property
    def _stopped(self) -> bool:
        return self._closed or self.error is not None

    def _work(self) -> None:
        while not self._stopped:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._asked > self._done, POLL_SECONDS)
                asked = self._asked
            self._catch_up(tell=True)
            with self._changed:
                self._done = asked
                self._changed.notify_all()

    def _catch_up(self, tell: bool) -> None:
        try:
            while not self._stopped and self._learn_stretch(tell):
                pass
        except StoreAwayError as error:
            logger.debug("nothing can be learned now: %s", error)
        except Exception as error:  # a router may raise anything; only its learning stops
            logger.exception("learning has stopped at position %d of the log", self.position)
            self.error = error

    def _learn_stretch(self, tell: bool) -> bool:
        """Learn the next stretch of the log; return whether there was one."""
        known = self.position < self._told
        experience = self._store.experience(self.position, min(STRETCH, self._told - self.position) if known else STRETCH)
        if experience.epoch != self._epoch or experience.follows not in (None, self._last):
            self._begin_again(experience.epoch)
            return True
        if experience.position == self.position:
            return False
        self._router.learn(experience)
        self.position, self._last = experience.position, experience.last or ""
        if self.position - self._kept >= VIEW_EVERY:
            self._keep_view()
        if tell and not known:
            for feedback in experience.feedback:
                self._tell(feedback)
        return True

    def _begin(self) -> None:
        """Note what the router begins with, without whom the log has forgotten."""
        self._router.begin(self._store)
        self._beginning = state_of(self._router)
        self._name = state_name(self._router, self._beginning)

    def _begin_again(self, epoch: int) -> None:
        """Forget what was learned; the feedback that is learned once more is not told once more.

        Raises:
            PluginError: The router cannot go back.
        """
        if self.position > 0:
            self._go_back()
        self._begin()
        self._told = max(self._told, self.position)
        self._epoch, self.position, self._kept, self._last = epoch, 0, 0, ""

    def _go_back(self) -> None:
        if not self._saves:
            raise PluginError("the router must learn the log again from its start, and cannot go back there: it saves nothing; restart the program")
        restore(self._router, self._beginning)

    def _take_up_view(self) -> None:
        """Start where the log's view of the router ends, if it has one that can be read."""
        view = self._store.snapshot(self._name) if self._saves else None
        if view is None:
            return
        try:
            restore(self._router, view.content)
        except CheckpointError as error:
            logger.warning("the log is learned again from its start, since its view of the router cannot be read: %s", error)
            self._go_back()
        else:
            self._epoch, self.position, self._kept, self._last = view.epoch, view.position, view.position, view.last

    def _keep_view(self) -> None:
        """Keep the router's state in the log, where it has learned something since that was done last and has not failed halfway."""
        if not self._saves or self.error is not None or self.position == self._kept:
            return
        try:
            self._store.put_snapshot(self._name, Snapshot(self.position, state_of(self._router), self._epoch, self._last))
        except StoreError as error:  # the next start learns more again, no less
            logger.warning("what the router has learned could not be kept: %s", error)
        else:
            self._kept = self.position
