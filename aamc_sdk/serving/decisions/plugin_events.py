"""Delivery of a controller's events to plugins."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aamc_sdk.plugins import Plugins
    from aamc_sdk.types import Decision, Feedback


class PluginEvents:
    """Calls the plugins that listen to ``aamc_decided`` and ``aamc_learned``, on a thread of its own, so that no request waits for them."""

    def __init__(self, plugins: Plugins | None) -> None:
        self._plugins = plugins
        self._listened = {event for event in ("aamc_decided", "aamc_learned") if plugins is not None and plugins.has_listeners(event)}
        self._thread = ThreadPoolExecutor(1, "aamc-events")  # one thread: events keep their order

    def decided(self, decisions: Iterable[Decision]) -> None:
        """Announce decisions that are new to the log."""
        for decision in decisions:
            self._emit("aamc_decided", decision=decision)

    def learned(self, feedback: Feedback) -> None:
        """Announce feedback that the router has learned, or that is in the log of a router that does not learn."""
        self._emit("aamc_learned", feedback=feedback)

    def close(self) -> None:
        """Deliver the remaining events and end the thread."""
        self._thread.shutdown()

    def _emit(self, event: str, **arguments: Any) -> None:
        if self._plugins is not None and event in self._listened:
            self._thread.submit(self._plugins.notify, event, **arguments)
