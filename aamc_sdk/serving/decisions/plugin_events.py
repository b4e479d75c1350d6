"""Delivery of a controller's events to plugins."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from aamc_sdk.interfaces import Store
from aamc_sdk.plugins import Plugins
from aamc_sdk.types import Decision, Feedback

MAX_EARLY = 10_000
"""Maximum number of unknown decisions whose feedback is kept until they come, and of pieces on each; the oldest beyond it are not announced."""


class PluginEvents:
    """Calls the plugins that listen to ``aamc_decided`` and ``aamc_learned``, on a thread of its own, so that no request waits for them."""

    def __init__(self, plugins: Plugins | None) -> None:
        self._plugins = plugins
        self._listened = {event for event in ("aamc_decided", "aamc_learned") if plugins is not None and plugins.has_listeners(event)}
        self._thread = ThreadPoolExecutor(1, "aamc-events")  # one thread: events keep their order
        self._early: dict[str, deque[Feedback]] = {}
        self._lock = threading.Lock()

    def announce_decisions(self, decisions: Sequence[Decision]) -> None:
        """Announce decisions that are new to the log, and the early feedback on them."""
        if not self._listened:
            return
        for decision in decisions:
            self._emit("aamc_decided", decision=decision)
        if self._early:
            self._announce_early([decision.id for decision in decisions])

    def announce_feedback(self, feedback: Sequence[Feedback], store: Store) -> None:
        """Announce logged feedback of a controller without a learner, which would do it after learning.

        Feedback on an unknown decision waits until this controller logs that decision.
        """
        if "aamc_learned" not in self._listened:
            return
        with self._lock:
            for each in feedback:
                self._early.setdefault(each.decision_id, deque(maxlen=MAX_EARLY)).append(each)
            while len(self._early) > MAX_EARLY:
                del self._early[next(iter(self._early))]
        for each in feedback:
            with suppress(Exception):  # unknown, or the log cannot be read now; the feedback is in the log
                store.record(each.decision_id)
                self._announce_early([each.decision_id])

    def announce_learned(self, feedback: Feedback) -> None:
        """Announce feedback that the router has learned."""
        self._emit("aamc_learned", feedback=feedback)

    def close(self) -> None:
        """Deliver the remaining events and end the thread."""
        self._thread.shutdown()

    def _announce_early(self, decision_ids: Sequence[str]) -> None:
        with self._lock:
            for feedback in [feedback for name in decision_ids for feedback in self._early.pop(name, ())]:
                self.announce_learned(feedback)

    def _emit(self, event: str, **arguments: Any) -> None:
        if self._plugins is not None and event in self._listened:
            self._thread.submit(self._plugins.notify, event, **arguments)
