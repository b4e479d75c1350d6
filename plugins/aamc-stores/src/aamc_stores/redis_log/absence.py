"""Errors of a Redis server that say nothing about the content that was sent."""

from __future__ import annotations

import redis
from redis.exceptions import ClusterDownError, InvalidResponse, NoPermissionError, OutOfMemoryError, ReadOnlyError

_ABSENCE = (
    *(redis.ConnectionError, redis.TimeoutError, InvalidResponse, OSError),
    *(OutOfMemoryError, ReadOnlyError, NoPermissionError, ClusterDownError),
)
"""redis-py takes the code off the message of these refusals. A primary that is down is a ``ClusterDownError`` too."""
_NOT_NOW = (
    "BUSY",
    "MISCONF",
    "NOREPLICAS",
    "Can not run script with write flag",
    "-OOM",
    "-MISCONF",
    "Errors writing to the AOF",
    "The user executing the script can't",
)


def is_absence(error: Exception) -> bool:
    """Return whether the server is lost, or refuses for now whatever is sent: it is full, read-only or without its primary, or rights are missing."""
    return isinstance(error, _ABSENCE) or str(error).startswith(_NOT_NOW)
