"""Noticing clients that leave before their answer is complete."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType

from starlette.types import Receive

from aamc_gateway.requests.bodies import ClientLeft

SWEEP_S = 0.25
"""Time between two looks at the requests in progress. Only older ones get a task that waits for their client to leave: most are answered before."""


class WatchedBlock:
    """A block in which the client is watched; its task is cancelled when the client leaves, and the block raises ClientLeft."""

    __slots__ = ("_began", "_left", "_receive", "_task", "_watch", "_watcher")

    def __init__(self, watch: ClientWatch, receive: Receive) -> None:
        self._watch, self._receive = watch, receive
        self._began = time.monotonic()
        self._task = asyncio.current_task()
        self._watcher: asyncio.Task[None] | None = None
        self._left = False

    def __enter__(self) -> None:
        self._watch.all.add(self)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._watch.all.discard(self)
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None  # its error has the frame that has this object: a cycle
        if self._left and isinstance(error, asyncio.CancelledError):
            raise ClientLeft from None

    def look(self, now: float) -> None:
        """Begin to wait for the client to leave, if the request has lasted for some time."""
        if self._watcher is None and now - self._began >= SWEEP_S:
            self._watcher = asyncio.get_running_loop().create_task(self._wait())

    @property
    def is_answered(self) -> bool:
        """Whether the answer is complete. The server reports a disconnect then, too, and what is left to do must not be cancelled."""
        return False

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self.is_answered:
            return
        self._left = True
        if self._task is not None:
            self._task.cancel()


class ClientWatch:
    """Watches the clients of requests in progress, which are in ``all``."""

    def __init__(self) -> None:
        self.all: set[WatchedBlock] = set()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to look at the requests in progress."""
        self._timer = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def close(self) -> None:
        """End it."""
        if self._timer is not None:
            self._timer.cancel()

    def _sweep(self) -> None:
        now = time.monotonic()
        for watched in self.all:
            watched.look(now)
        self.start()
