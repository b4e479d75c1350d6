"""Further attempts: whether one may be made, although an earlier one may be billed, and the pause before it, by ``Retry-After`` or back-off."""

from __future__ import annotations

import math
import random
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from aamc_models.dialects.fields import object_or_empty, objects_or_empty
from aamc_models.transport.failures import Failure
from aamc_sdk.errors import ProviderError, may_be_billed

_FIRST_S = 0.5
"""Maximum of the first pause in seconds; it doubles with each attempt."""
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = r"(\d+(?:\.\d+)?)(ms|[dhms])"
_EPOCH_S, _EPOCH_MS = 1e9, 1e11
"""Numbers from which a number of seconds is a Unix time, in seconds or milliseconds."""
_permission: ContextVar[Callable[[], Awaitable[bool]] | None] = ContextVar("permission", default=None)


@contextmanager
def repeats_need(permission: Callable[[], Awaitable[bool]]) -> Iterator[None]:
    """Ask for permission before each further attempt of a call in this block whose last one may be billed."""
    token = _permission.set(permission)
    try:
        yield
    finally:
        _permission.reset(token)


class SentAttempts:
    """Tells ``on_sent`` whether a call may be billed: a server that refuses an attempt may still bill an earlier one."""

    def __init__(self, on_sent: Callable[[bool], None]) -> None:
        self._on_sent, self._may_be_billed = on_sent, False

    def fail(self, failure: Failure | ProviderError) -> None:
        """Note the end of the last attempt."""
        self._may_be_billed = self._may_be_billed or may_be_billed(failure)
        self._on_sent(self._may_be_billed)


async def may_repeat(failure: Failure | ProviderError) -> bool:
    """Return whether another attempt may be made after a failure."""
    permission = _permission.get()
    return permission is None or not may_be_billed(failure) or await permission()


def wanted_pause_s(status: int | None, headers: Mapping[str, str], error: Mapping[str, Any]) -> float | None:
    """Return the seconds that a server wants to be left alone, by the status, headers and error of its answer; None if it names no time to come.

    No pause, such as until a time that has passed, names none: without back-off, the attempts would come at once.
    """
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):  # the first is OpenAI's own; the second has seconds or a date
        seconds = _seconds(headers.get(name, "")) * scale
        if seconds > 0:
            return seconds
    return reset_s(headers, error) if status == 429 else None


def reset_s(headers: Mapping[str, str], error: Mapping[str, Any]) -> float | None:
    """Return the seconds until a limit with nothing left is renewed, by the headers of an answer 429 and its error; None if they do not say it.

    The headers have names such as ``x-ratelimit-reset-requests``. OpenRouter has them in the error, and Gemini a ``retryDelay``.
    """
    inner = object_or_empty(error.get("metadata")).get("headers")
    given = {name.lower(): str(value) for source in (inner, headers) if isinstance(source, Mapping) for name, value in source.items()}
    resets = [name for name in given if "ratelimit" in name and "reset" in name]
    texts = [given[name] for name in resets if not _seconds(given.get(name.replace("reset", "remaining"), "")) > 0]
    texts += [str(detail.get("retryDelay")) for detail in objects_or_empty(error.get("details"))]
    return max((seconds for text in texts if (seconds := _seconds(text)) > 0), default=None)


def _seconds(text: str) -> float:
    """Return the seconds in a text: a number, a duration such as 6m0s, or the time until a Unix time or date; NaN for another text."""
    with suppress(ValueError):
        number = float(text)
        if number < _EPOCH_S:
            return number
        return max((number if number < _EPOCH_MS else number / 1000.0) - time.time(), 0.0) if math.isfinite(number) else math.nan
    if re.fullmatch(f"(?:{_PART})+", text):
        return sum(float(amount) * _UNITS[unit] for amount, unit in re.findall(_PART, text))
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        with suppress(ValueError, TypeError, OverflowError):
            at = read(text.replace("Z", "+00:00"))
            at = at if at.tzinfo is not None else at.replace(tzinfo=timezone.utc)
            return max(at.timestamp() - time.time(), 0.0)
    return math.nan


def pause_s(attempt: int, wanted_s: float | None, longest_s: float) -> float:
    """Return the seconds before another attempt: those that the server wants, else exponential back-off with full jitter.

    Full jitter spreads the attempts of many callers best (Brooker, "Exponential Backoff And Jitter", 2015). ``attempt`` counts from 0.
    """
    if wanted_s is not None:
        return min(wanted_s, longest_s)
    return random.uniform(0.0, min(longest_s, _FIRST_S * 2.0 ** min(attempt, 10)))  # noqa: S311  # no secret depends on it
