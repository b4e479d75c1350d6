"""One HTTP session for each event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass
from weakref import WeakKeyDictionary, WeakSet, finalize

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

_KEEP_ALIVE_S = 30.0
"""Seconds that an idle connection stays open."""


class HttpSessions:
    """The HTTP sessions of a provider: connections belong to the event loop that they were opened on.

    A session ends with :meth:`close`, with its event loop, or when the provider is forgotten, whichever comes first.
    """

    def __init__(self) -> None:
        self._open: WeakKeyDictionary[asyncio.AbstractEventLoop, _OpenSession] = WeakKeyDictionary()
        self._changing = threading.Lock()

    async def session(self) -> aiohttp.ClientSession:
        """Return the session of the running event loop."""
        loop = asyncio.get_running_loop()
        held = self._open.get(loop)
        if held is None or held.session.closed:
            lifetime = _lifetime()
            session = await anext(lifetime)
            held = _OpenSession(session, lifetime, finalize(self, _forget, session, loop))
            with self._changing:
                for ended in [each for each in self._open.values() if each.session.closed]:
                    ended.forgotten.detach()
                self._open[loop] = held
        return held.session

    async def close(self) -> None:
        """Close the session of the running event loop."""
        with self._changing:
            held = self._open.pop(asyncio.get_running_loop(), None)
        if held is not None:
            held.forgotten.detach()
            await held.lifetime.aclose()


class _OpenSession(NamedTuple):
    """A session, its closer, and the finalizer that closes it when the provider is garbage-collected."""

    session: aiohttp.ClientSession
    lifetime: AsyncGenerator[aiohttp.ClientSession, None]
    forgotten: finalize[..., HttpSessions]


class _Connector(aiohttp.TCPConnector):
    """Ends idle connections on which something came, which aiohttp does not: the next request would take it for its answer."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._used = WeakSet[ResponseHandler]()

    async def connect(self, *arguments: Any, **named: Any) -> Connection:
        """Return a connection; a new one may have data, since some servers greet first."""
        while True:
            connection = await super().connect(*arguments, **named)
            protocol = connection.protocol
            assert protocol is not None  # until the connection is released
            if protocol not in self._used or not protocol.should_close:
                self._used.add(protocol)
                return connection
            connection.close()


async def _lifetime() -> AsyncGenerator[aiohttp.ClientSession, None]:
    """Yield a session. Being a generator, it is closed with the event loop: ``asyncio.run`` ends the generators of its loop."""
    connector = _Connector(limit=0, ttl_dns_cache=300, keepalive_timeout=_KEEP_ALIVE_S)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


def _forget(session: aiohttp.ClientSession, loop: asyncio.AbstractEventLoop) -> None:
    """Close the connections of a session whose provider is gone, on the thread of their event loop."""
    connector = session.connector
    session.detach()
    if connector is not None and not connector.closed and loop.is_running():
        asyncio.run_coroutine_threadsafe(_closed(connector), loop)


async def _closed(connector: aiohttp.BaseConnector) -> None:
    await connector.close()


def forget_addresses(session: aiohttp.ClientSession) -> None:
    """Resolve the names of servers again: one that cannot be reached may have another address by now."""
    if isinstance(session.connector, aiohttp.TCPConnector):
        session.connector.clear_dns_cache()


def proxy_of(address: str) -> str | None:
    """Return the proxy that the environment (``HTTPS_PROXY``, ``NO_PROXY``) has for an address; None without one."""
    parts = urlsplit(address)
    proxy = getproxies().get(parts.scheme)
    if proxy is None or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
