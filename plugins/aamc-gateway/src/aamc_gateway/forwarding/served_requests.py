"""A request as metrics, spans and logs see it, and its end."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from aamc_gateway.observe.request_figures import RequestFigures
from aamc_gateway.requests.bodies import ClientLeft
from aamc_gateway.server.http.error_answers import status_and_kind
from aamc_sdk.errors import AamcError
from aamc_sdk.types import new_ids

if TYPE_CHECKING:
    from aamc_gateway.requests.client_request import ClientRequest
    from aamc_gateway.server.gateway import Gateway
    from aamc_gateway.server.http.client_watch import Watched
    from aamc_gateway.server.interfaces import Scope

_PROCESS, _REQUESTS = new_ids(1)[0][-16:], itertools.count()
CLIENT_LEFT = 499
"""The status of a request whose client left."""


def served_request(request: ClientRequest, route: str) -> RequestFigures:
    """Return a request that begins now.

    Args:
        request: The request.
        route: The path of its route.
    """
    caller = request.caller
    return RequestFigures(
        request_id=f"{_PROCESS}{next(_REQUESTS):08x}",
        route=route,
        dialect=request.dialect if request.api == request.dialect else request.api,
        key_id=caller.key_id,
        tenant=caller.tenant,
        session=request.query.session,
        streamed=request.stream,
        began=time.time(),
    )


def cost_header(cost_usd: float) -> list[tuple[bytes, bytes]]:
    """Return the header with the cost of an answer; none if it is unknown."""
    return [] if math.isnan(cost_usd) else [(b"x-aamc-cost-usd", f"{cost_usd:.10g}".encode())]


class Ending(Protocol):
    """A request that can end.

    Attributes:
        served: What metrics see of it.
    """

    served: RequestFigures

    def end(self, status: int, error_kind: str = "") -> None:
        """End it; a second call does nothing."""


class ObservedRequest:
    """Begins a request, and ends it where the block raises. A context manager.

    Args:
        gateway: The gateway.
        request: The request.
        scope: Its connection, which gets the decision's id for the answer of an error.
        client: Its client; None where nobody watches whether it leaves.
    """

    __slots__ = ("_client", "_gateway", "_request", "_scope")

    def __init__(self, gateway: Gateway, request: Ending, scope: Scope, client: Watched | None = None) -> None:
        self._gateway, self._request, self._scope, self._client = gateway, request, scope, client

    def __enter__(self) -> None:
        """Tell metrics that the request has begun."""
        metrics, served = self._gateway.metrics, self._request.served
        metrics.started(served.route)
        metrics.trace(served, self._scope["headers"])

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """End the request by the block's error, which goes on.

        Raises:
            ClientLeft: The block was cancelled because the client left.
        """
        if error is None:
            return
        if isinstance(error, asyncio.CancelledError):
            self._request.end(CLIENT_LEFT, "cancelled")
            if self._client is not None and self._client.left:
                raise ClientLeft from None
            return
        self._scope["decision_id"] = self._request.served.decision_id
        if isinstance(error, AamcError):
            self._request.end(*status_and_kind(error))
        else:
            self._request.end(500, "server")
