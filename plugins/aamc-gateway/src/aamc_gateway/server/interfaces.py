"""The types of endpoints, and names that all parts share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.types import Receive, Scope, Send

from aamc_gateway.access.callers import Caller, Refused

__all__ = ["Caller", "Receive", "Refused", "RouteEndpoint", "Scope", "Send"]

RouteEndpoint = Callable[[Any, Scope, Receive, Send], Awaitable[None]]
"""Answers a request of a route; the first argument is the gateway, which imports the parts that use this type.

``scope["caller"]`` holds the :class:`Caller`, ``scope["path_params"]`` the path's parameters. An AamcError that it raises becomes an error in the
client's dialect.
"""
