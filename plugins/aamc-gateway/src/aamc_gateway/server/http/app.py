"""The ASGI application: finds the route of a request, checks who calls, and answers errors."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from operator import attrgetter
from typing import Any

from starlette.routing import compile_path
from starlette.types import Receive, Scope, Send

from aamc_gateway.access.callers import Refused, refused_for_now
from aamc_gateway.dashboard.sign_in import admin_caller
from aamc_gateway.forwarding.failures import UnservedError
from aamc_gateway.forwarding.observed_request import CLIENT_LEFT
from aamc_gateway.requests.bodies import ClientLeft
from aamc_gateway.server.gateway import Gateway
from aamc_gateway.server.http.error_answers import dialect_of, send_error, tell_operator
from aamc_gateway.server.http.routes import Route, all_routes
from aamc_sdk.concurrency import is_cancelled
from aamc_sdk.errors import AamcError

logger = logging.getLogger(__name__)
_AT_START = ("host", "port", "workers", "shutdown_s", "limits.header_kb", "limits.header_s", "limits.write_s")
"""Settings that a reload does not change."""


class GatewayApp:
    """The application that a worker serves.

    Args:
        gateway: The gateway that serves first, not started yet.
        make: Makes the gateway of a reload.

    Attributes:
        gateway: The gateway that serves new requests.
    """

    def __init__(self, gateway: Gateway, make: Callable[[], Awaitable[Gateway]]) -> None:
        self.gateway, self._make = gateway, make
        self._first_settings = gateway.settings
        self._closing: set[asyncio.Task[None]] = set()
        self._reloading = asyncio.Lock()
        self._closed = False
        self._routes = [(compile_path(route.path)[0], route) for route in all_routes()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        gateway, start, route = self.gateway, ResponseStart(send), None
        gateway.in_progress += 1
        try:
            route = self._find(scope)
            scope["route"] = route.path
            if route.scope == "user":
                scope["caller"] = await gateway.access.caller(scope["headers"])
            elif route.scope == "admin":
                scope["caller"] = await admin_caller(gateway, scope)
            await route.endpoint(gateway, scope, receive, start)
        except ClientLeft:
            pass
        except asyncio.CancelledError:
            if not is_cancelled():  # a component raised it
                raise
            if not start.status:  # the server does not wait longer; it closes a connection whose answer is not complete
                await send_error(refused_for_now("the gateway ends"), dialect_of(scope["path"]), start)
        except GeneratorExit:
            raise
        except BaseException as error:  # a component may raise anything
            if start.status:
                raise
            if isinstance(error, Refused) and not isinstance(error, UnservedError):
                gateway.metrics.refusals.labels(error.kind).inc()
            who = f"request {scope['request_id']}" if "request_id" in scope else "a request"
            tell_operator(f"{who} of {scope['path']}", error)
            await send_error(error, dialect_of(scope["path"]), start, decision_id=scope.get("decision_id", ""))
            if not isinstance(error, Exception):  # the server must see a shutdown
                raise
        finally:
            gateway.in_progress -= 1
            gateway.large_bodies.release(scope)
            if route is not None and route.scope == "user" and "request_id" not in scope:
                gateway.metrics.answered(route.path, start.status or CLIENT_LEFT)

    def _find(self, scope: Scope) -> Route:
        path, method = scope["path"], scope["method"]
        allowed: set[str] = set()
        for pattern, route in self._routes:
            if match := pattern.fullmatch(path):
                if method in route.methods or (method == "HEAD" and "GET" in route.methods):
                    scope["path_params"] = match.groupdict()
                    return route
                allowed.update(route.methods)
        if allowed:
            allow = ", ".join(sorted(allowed.union({"HEAD"} if "GET" in allowed else ())))
            raise Refused(f"{path} does not answer {method}; use {allow}", status=405, headers={b"allow": allow.encode()})
        raise Refused(f"there is no {path:.200}; see /v1/models and the documentation", status=404, kind="not_found")

    async def start(self) -> None:
        """Start the gateway, on the event loop that serves it; a reload meanwhile waits.

        Raises:
            AamcError: It cannot start.
        """
        async with self._reloading:
            await _start(self.gateway)

    async def close(self) -> None:
        """Wait for the requests in progress, and close the gateway and those that reloads have replaced."""
        self._closed = True
        await asyncio.gather(self.gateway.close(), *self._closing)

    async def reload(self) -> None:
        """Replace the gateway by a new one; requests in progress end with the old one. An error leaves the old one in place.

        Reloads follow one another, so that the last one, which has read the newest configuration, counts.
        """
        async with self._reloading:
            try:
                gateway = await self._make()
                await _start(gateway)
            except AamcError as error:
                logger.error("the configuration cannot be reloaded; the gateway keeps the old one: %s", error)  # noqa: TRY400  # it says what to do
                return
            except Exception:
                logger.exception("the configuration cannot be reloaded; the gateway keeps the old one")
                return
            if self._closed:  # it does not wait for reloads
                await gateway.close()
                return
            old, self.gateway = self.gateway, gateway
            gateway.take_over(old)
            task = asyncio.get_running_loop().create_task(old.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
            if kept := [name for name in _AT_START if (get := attrgetter(name))(self._first_settings) != get(gateway.settings)]:
                logger.warning("the reload leaves %s as at the start: restart to change it", " and ".join(kept))
            logger.warning("the configuration was reloaded")


async def _start(gateway: Gateway) -> None:
    """Start a gateway, and its dashboard; one that cannot is closed, or each failed reload would leave its threads and its log open."""
    try:
        await gateway.start()
        # A gateway that is only checked leaves no trace in the history of prices.
        await gateway.overview.start(gateway.shared, gateway.upstreams.capable("chat"))
    except BaseException:
        await gateway.close()
        raise


class ResponseStart:
    """Passes messages on, and notes the status of the answer; 0 before it has begun."""

    __slots__ = ("_send", "status")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    def __call__(self, message: Any) -> Awaitable[None]:
        """Send a message."""
        if not self.status:
            self.status = message["status"]
        return self._send(message)
