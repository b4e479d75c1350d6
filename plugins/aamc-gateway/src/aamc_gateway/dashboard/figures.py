"""The figures of the dashboard that are read from the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

from aamc_gateway.dashboard.learned_state import TrialReader
from aamc_gateway.dashboard.log_reader import LogReader
from aamc_gateway.dashboard.overview import overview, prices_of

if TYPE_CHECKING:
    from aamc_sdk import MetaController

READ_S = 1.0
"""Time for which one request reads the log, in seconds; the next one goes on."""


class Figures:
    """Reads the log for a worker's dashboard: one request at a time, on a worker thread."""

    def __init__(self, controller: MetaController) -> None:
        self._controller = controller
        self._reader = LogReader(controller.store, prices_of(controller.pool))
        self._trials = TrialReader(controller.store)
        self._lock = asyncio.Lock()

    async def overview(self, period: str, baseline: str) -> dict[str, Any]:
        """Return the figures of a period, see :func:`aamc_gateway.dashboard.overview.overview`."""
        return await self._read(lambda: overview(self._reader, self._controller.pool, period, baseline or None))

    async def recent(self, limit: int) -> dict[str, Any]:
        """Return the newest decisions with their calls and feedback."""
        return await self._read(lambda: {"schema": 1, "decisions": [attrs.asdict(each) for each in self._reader.recent(limit)]})

    async def trials(self) -> dict[str, Any]:
        """Return the state of a canary or shadow."""
        async with self._lock:
            return await asyncio.to_thread(self._trials.document, self._controller.router)

    async def _read(self, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Read new entries of the log for a second at most, and return a document with the number of unread ones."""

        def read() -> dict[str, Any]:
            left = self._reader.read(READ_S)
            return {**make(), "left": left}

        async with self._lock:
            return await asyncio.to_thread(read)
