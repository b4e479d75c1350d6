"""Online learning: one thread takes the log's entries to the router, in their order."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from aamc_sdk.errors import PluginError
from aamc_sdk.interfaces import Router

if TYPE_CHECKING:
    from collections.abc import Callable

    from aamc_sdk.interfaces import Store
    from aamc_sdk.types import Feedback

logger = logging.getLogger(__name__)

STRETCH = 1000
"""Entries of the log that are learned at once."""
POLL_SECONDS = 1.0
"""How often the log is looked at unasked: other processes may write to it as well."""


def learns(router: Router) -> bool:
    """Return whether a router learns from experience at all."""
    return type(router).learn is not Router.learn


class Learner:
    """Calls ``router.learn`` with what the log holds after a position, on one thread, in log order.

    What the log holds already is learned before the constructor returns: a restarted process goes
    on where it was. When ``learn`` raises, learning stops there and ``error`` says why; scoring and
    the log go on, and the next start takes up at the same entry.

    Args:
        store: The log.
        router: Who learns.
        tell: Called with each feedback that was learned after the start.
        position: The log's position that the router has learned up to.
    """

    def __init__(self, store: Store, router: Router, tell: Callable[[Feedback], None], position: int = 0) -> None:
        self.position = position
        self.error: Exception | None = None
        self._store = store
        self._router = router
        self._tell = tell
        self._changed = threading.Condition()
        self._asked = self._done = 0
        self._closed = False
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
        """Finish the stretch in hand and stop; closing twice does nothing."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

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
        except Exception as error:  # a router may raise anything; only its learning stops
            logger.exception("learning has stopped at position %d of the log", self.position)
            self.error = error

    def _learn_stretch(self, tell: bool) -> bool:
        """Learn the next stretch of the log; return whether there was one."""
        experience = self._store.experience(self.position, STRETCH)
        if experience.position == self.position:
            return False
        self._router.learn(experience)
        self.position = experience.position
        if tell:
            for feedback in experience.feedback:
                self._tell(feedback)
        return True
