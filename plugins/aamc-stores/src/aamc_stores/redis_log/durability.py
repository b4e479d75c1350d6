"""Warnings about settings of a Redis server that may lose entries."""

from __future__ import annotations

import logging

import redis

logger = logging.getLogger(__name__)
_DURABILITY = {
    "appendonly": (("yes",), "the log is lost when the server ends: set appendonly yes"),
    "appendfsync": (
        ("always",),
        "a crash of the server's machine may lose its last two seconds: set appendfsync always, or the store's option durability=relaxed",
    ),
    "maxmemory-policy": (("noeviction",), "entries may be thrown away when memory is short: set maxmemory-policy noeviction"),
}
"""Settings: the right values, and the risk of another one."""
_RELAXED = {"appendfsync": ("always", "everysec")}
"""Values that are right too with ``durability=relaxed``: at most the last two seconds are lost when the server's machine crashes."""


def warn_of_losses(client: redis.Redis, name: str, relaxed: bool = False) -> None:
    """Log a warning for each of a server's settings that may lose entries.

    Args:
        client: The client.
        name: The log's name.
        relaxed: Whether the loss of the last two seconds is accepted.
    """
    try:
        found = {setting: client.config_get(setting).get(setting) for setting in _DURABILITY}  # texts, as these answers are always decoded
    except redis.ResponseError:  # many hosted servers refuse the command
        logger.info("%s does not tell its settings; see that appendonly is on", name)
        return
    for setting, (right, advice) in _DURABILITY.items():
        accepted = _RELAXED.get(setting, right) if relaxed else right
        value = found[setting]
        if value is not None and value not in accepted:
            logger.warning("%s has %s %s: %s", name, setting, value, advice)
