"""The log on a Redis server."""

from __future__ import annotations

from aamc_stores.redis_log.absence import is_absence

__all__ = ["is_absence"]
