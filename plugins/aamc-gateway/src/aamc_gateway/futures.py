"""Results for futures of event loops from other threads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any


def resolve(results: Iterable[tuple[asyncio.Future[Any], Any]]) -> None:
    """Set the result of each future, or its exception, on the future's event loop; a loop is woken once for all of its futures."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for future, result in results:
        by_loop.setdefault(future.get_loop(), []).append((future, result))
    for loop, found in by_loop.items():
        with suppress(RuntimeError):  # the loop is closed, and nobody waits
            loop.call_soon_threadsafe(_deliver, found)


def _deliver(results: Iterable[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, result in results:
        if future.done():  # the caller has gone
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
            future.exception()  # a caller that has gone does not fetch it, which asyncio would report
        else:
            future.set_result(result)
