"""A request as metrics, spans and logs see it, and its end, also by a client that leaves before the answer is complete."""

from __future__ import annotations

import asyncio
import itertools
import time
from types import TracebackType

from starlette.types import Receive, Scope

from aamc_gateway.observe.request_figures import Ending, RequestFigures
from aamc_gateway.requests.bodies import ClientLeft
from aamc_gateway.requests.client_request import ClientRequest
from aamc_gateway.server.gateway import Gateway
from aamc_gateway.server.http.error_answers import status_and_kind
from aamc_sdk.types import new_ids

_PROCESS, _REQUESTS = new_ids(1)[0][-16:], itertools.count()
CLIENT_LEFT = 499
"""The status of a request whose client left."""
WATCHED_AFTER_S = 0.25
"""Time in seconds after which a request gets a task that waits for its client to leave: most are answered before."""


def request_figures(request: ClientRequest, route: str) -> RequestFigures:
    """Return the figures of a request that begins now."""
    caller = request.caller
    return RequestFigures(
        request_id=f"{_PROCESS}{next(_REQUESTS):08x}",
        route=route,
        dialect=request.api,
        key_id=caller.key_id,
        tenant=caller.tenant,
        streamed=request.stream,
        began=time.time(),
    )


class WatchedBlock:
    """A block in which the client is watched; its task is cancelled when the client leaves, and the block raises ClientLeft."""

    __slots__ = ("_left", "_receive", "_task", "_timer", "_watcher")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._task = asyncio.current_task()
        self._watcher: asyncio.Task[None] | None = None
        self._left = False

    def __enter__(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(WATCHED_AFTER_S, self._watch)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None  # its error has the frame that has this object: a cycle
        if self._left and isinstance(error, asyncio.CancelledError):
            raise ClientLeft from None

    def _watch(self) -> None:
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


class ObservedRequest(WatchedBlock):
    """The block of a request: begins it, cancels it when its client leaves, and ends it where the block raises."""

    __slots__ = ("_gateway", "_request", "_scope")

    def __init__(self, gateway: Gateway, request: Ending, scope: Scope, receive: Receive) -> None:
        super().__init__(receive)
        self._gateway, self._request, self._scope = gateway, request, scope

    @property
    def is_answered(self) -> bool:
        """Whether the answer is complete."""
        return self._request.figures.ended > 0

    def __enter__(self) -> None:
        """Tell metrics that the request has begun, so that they count it when it ends."""
        super().__enter__()
        figures = self._request.figures
        self._scope["request_id"] = figures.request_id
        self._gateway.metrics.started()
        self._gateway.observer.trace(figures, self._scope["headers"])

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """End the request by the block's error, which goes on.

        Raises:
            ClientLeft: The block was cancelled because the client left.
        """
        if isinstance(error, asyncio.CancelledError):
            self._request.end(CLIENT_LEFT, "cancelled")
        elif error is not None:
            self._scope["decision_id"] = self._request.figures.decision_id
            self._request.end(*status_and_kind(error))
        super().__exit__(kind, error, traceback)
