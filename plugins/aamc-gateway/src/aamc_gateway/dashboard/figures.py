"""The figures of the dashboard, from the log and the router."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from aamc_gateway.dashboard.learned_state import TrialReader, posteriors_document
from aamc_gateway.dashboard.log_reader import LogReader
from aamc_gateway.dashboard.overview import overview, prices_of, recent_document

if TYPE_CHECKING:
    from aamc_sdk import MetaController

T = TypeVar("T")
READ_S = 1.0
"""Time for which one request reads the log, in seconds; the next one goes on."""


class Figures:
    """The figures of a worker's dashboard. One request at a time reads the log, on a worker thread."""

    def __init__(self, controller: MetaController) -> None:
        self._controller = controller
        self._reader = LogReader(controller.store, prices_of(controller.pool))
        self._trials = TrialReader(controller.store)
        self._lock = asyncio.Lock()

    async def overview(self, period: str, baseline: str) -> dict[str, Any]:
        """Return the figures of a period, see :func:`aamc_gateway.dashboard.overview.overview`."""
        return await self._read(lambda left: overview(self._reader, self._controller.pool, period, baseline or None) | {"left": left})

    async def recent(self, limit: int) -> dict[str, Any]:
        """Return the newest decisions."""
        return await self._read(lambda left: recent_document(self._reader, limit) | {"left": left})

    async def explanation(self, decision_id: str) -> dict[str, Any]:
        """Return the document of ``aamc explain --json``, with the prompt where the log keeps it."""

        def explain() -> dict[str, Any]:
            found = self._controller.explain(decision_id)
            return {**found.to_dict(), "text": found.record.query.text}

        return await asyncio.to_thread(explain)

    async def posteriors(self) -> dict[str, Any]:
        """Return the router's learned posteriors."""
        found = await asyncio.to_thread(posteriors_document, self._controller.router, self._controller.pool)
        return {**found, "router": self._controller.router_name}

    async def trials(self) -> dict[str, Any]:
        """Return the state of a canary or shadow."""
        async with self._lock:
            return await asyncio.to_thread(self._trials.document, self._controller.router)

    async def _read(self, document: Callable[[int], T]) -> T:
        """Read new entries of the log for a second at most, and return a document; its function gets the number of unread entries."""

        def read() -> T:
            return document(self._reader.read(READ_S))

        async with self._lock:
            return await asyncio.to_thread(read)
