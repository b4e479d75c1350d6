"""Results for futures of an event loop from other threads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any


def deliver(results: Iterable[tuple[asyncio.Future[Any], Any]]) -> None:
    """Set the result of each future, or its exception, on the futures' event loop."""
    for future, result in results:
        if future.done():  # the caller has gone
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
            future.exception()  # a caller that has gone does not fetch it, which asyncio would report
        else:
            future.set_result(result)
