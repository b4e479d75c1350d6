"""The types of endpoints, and names that all parts share. A gateway is Any here: it imports the parts that use these types."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

from aamc_gateway.access.callers import Caller
from aamc_gateway.access.refusals import Refused

__all__ = ["Caller", "Handler", "Receive", "Refused", "RouteEndpoint", "Scope", "Send"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class RouteEndpoint(Protocol):
    """Answers the requests of a route. ``scope["caller"]`` holds the :class:`Caller`, ``scope["path_params"]`` the path's parameters."""

    def __call__(self, gateway: Any, scope: Scope, receive: Receive, send: Send, /) -> Awaitable[None]:
        """Answer one request; a :class:`Refused` or another AamcError that it raises becomes an error in the client's dialect."""


class Handler(Protocol):
    """Answers the requests of one mode, see :class:`aamc_gateway.requests.client_request.ClientRequest`."""

    def __call__(self, gateway: Any, request: Any, scope: Scope, receive: Receive, send: Send, /) -> Awaitable[None]:
        """Answer one request; errors as of an :class:`RouteEndpoint`."""
