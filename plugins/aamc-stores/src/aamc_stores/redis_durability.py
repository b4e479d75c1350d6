"""What a Redis server must be told so that it loses nothing."""

from __future__ import annotations

import logging

import redis

logger = logging.getLogger(__name__)
_DURABILITY = {
    "appendonly": ("yes", "the log is lost when the server ends: set appendonly yes"),
    "appendfsync": ("always", "a crash of the server's machine may lose its last second: set appendfsync always"),
    "maxmemory-policy": ("noeviction", "entries may be thrown away when memory is short: set maxmemory-policy noeviction"),
}
"""Settings: the right value, and what happens otherwise."""


def warn_of_losses(client: redis.Redis, name: str) -> None:
    """Say what a server's settings may lose."""
    try:
        found = {setting: client.config_get(setting).get(setting) for setting in _DURABILITY}
    except redis.ResponseError:  # many hosted servers do not tell
        logger.info("%s does not say whether it keeps what it is given; see that appendonly is on", name)
        return
    for setting, (right, advice) in _DURABILITY.items():
        if found[setting] is not None and found[setting] != right:
            logger.warning("%s has %s %s: %s", name, setting, found[setting], advice)
