"""Further attempts: the permission for one, and the pause before it."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timezone
from email.utils import parsedate_to_datetime

from aamc_models.transport.failures import Failure, may_be_billed
from aamc_sdk.errors import ProviderError

_FIRST_S = 0.5
"""Maximum of the first pause in seconds; it doubles with each attempt."""
_permission: ContextVar[Callable[[], Awaitable[bool]] | None] = ContextVar("permission", default=None)


@contextmanager
def repeats_need(permission: Callable[[], Awaitable[bool]]) -> Iterator[None]:
    """Ask for permission before each further attempt of a call in this block whose last one may be billed."""
    token = _permission.set(permission)
    try:
        yield
    finally:
        _permission.reset(token)


async def may_repeat(failure: Failure | ProviderError) -> bool:
    """Return whether another attempt may be made after a failure."""
    permission = _permission.get()
    return permission is None or not may_be_billed(failure) or await permission()


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a server wants to be left alone, in an answer's headers; None if it says nothing that can be read."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):  # the first is OpenAI's own; the second has seconds or a date
        value = headers.get(name, "")
        try:
            seconds = float(value) * scale
        except ValueError:
            seconds = _seconds_until(value)
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    return None


def _seconds_until(date: str) -> float:
    try:
        at = parsedate_to_datetime(date)
    except (ValueError, TypeError, OverflowError):
        return math.nan
    at = at if at.tzinfo is not None else at.replace(tzinfo=timezone.utc)
    return max(at.timestamp() - time.time(), 0.0)


def pause_s(attempt: int, wanted_s: float | None, longest_s: float) -> float:
    """Return the seconds before another attempt: those that the server wants, else exponential back-off with full jitter.

    Full jitter spreads the attempts of many callers best (Brooker, "Exponential Backoff And Jitter", 2015). ``attempt`` counts from 0.
    """
    if wanted_s is not None:
        return min(wanted_s, longest_s)
    return random.uniform(0.0, min(longest_s, _FIRST_S * 2.0 ** min(attempt, 10)))  # noqa: S311  # no secret depends on it
