"""Warnings about settings of a Redis server that may lose entries."""

from __future__ import annotations

import logging

import redis

logger = logging.getLogger(__name__)
_DURABILITY = {
    "appendonly": ("yes", "the log is lost when the server ends: set appendonly yes"),
    "appendfsync": ("always", "a crash of the server's machine may lose its last second: set appendfsync always"),
    "maxmemory-policy": ("noeviction", "entries may be thrown away when memory is short: set maxmemory-policy noeviction"),
}
"""Settings: the right value, and the risk of another one."""


def warn_of_losses(client: redis.Redis, name: str) -> None:
    """Log a warning for each of a server's settings that may lose entries."""
    try:
        found = {setting: client.config_get(setting).get(setting) for setting in _DURABILITY}
    except redis.ResponseError:  # many hosted servers refuse the command
        logger.info("%s does not tell its settings; see that appendonly is on", name)
        return
    for setting, (right, advice) in _DURABILITY.items():
        if found[setting] is not None and found[setting] != right:
            logger.warning("%s has %s %s: %s", name, setting, found[setting], advice)
