"""Migration of a log of an earlier version on a Redis server to the present one."""

from __future__ import annotations

import logging
import time
import uuid
from typing import Any

import redis

from aamc_sdk.errors import StoreError
from aamc_sdk.log import decode
from aamc_stores.redis_log.scripts import MOVE
from aamc_stores.redis_log.server import RedisServer, binary, partition_value
from aamc_stores.redis_log.states import SNAPSHOTS, State

VERSION = 3
"""The version of the keys."""
MOVED_AT_ONCE = 2000
"""Places that one script moves; others wait for some milliseconds."""
_PER_SECOND = 100_000
"""Places that are moved in a second, to say beforehand how long it takes."""
_SECONDS_WITHOUT_WORD = 2.0
_SAMPLE = 100
_RENAMED = {"views": "snapshots", "views:content": "snapshots:content", "waiting": "pending"}
"""Keys of version 1 that have another name since."""
logger = logging.getLogger(__name__)


def migrate(server: RedisServer) -> None:
    """Bring a log to the present version.

    Entries are read as they are; only the list of their places moves to a stream, in batches. An interrupted move continues at the next opening, and
    two processes may move at once. The list stays until all is moved, so an earlier program can open the log until then.

    Raises:
        StoreError: The log has a newer version.
    """
    with server.explained():
        client, key = server.client, server.key("version")
        client.setnx(key, VERSION)
        version = _version(server)
        if version > VERSION:
            raise StoreError(
                f"the log {server.name} has version {version}, newer than {VERSION}, the newest that this program knows; update aamc-stores"
            )
        if version == VERSION:
            return
        try:
            _move(server, version)
        except (redis.ResponseError, StoreError):  # the list is gone if another process has finished meanwhile
            if _version(server) != VERSION:
                raise


def _version(server: RedisServer) -> int:
    return int(server.client.get(server.key("version")) or VERSION)


def _move(server: RedisServer, version: int) -> None:
    """Move the places of a log of this earlier version to the stream."""
    if version == 1:
        _rename(server)
    places = int(server.client.llen(server.key("log")))
    begun = time.monotonic()
    if places > _SECONDS_WITHOUT_WORD * _PER_SECOND:
        logger.warning(
            "the log %s of version %d is migrated, which takes about %.0f s for %d entries", server.name, version, places / _PER_SECOND, places
        )
    while int(server.run(MOVE, str(MOVED_AT_ONCE))) > 0:
        pass
    _finish(server)
    if places > _SECONDS_WITHOUT_WORD * _PER_SECOND:
        logger.warning("the log %s was migrated in %.1f s", server.name, time.monotonic() - begun)


def _rename(server: RedisServer) -> None:
    """Rename keys of version 1; another process may do so at the same time."""
    for old, new in _RENAMED.items():
        server.client.eval(
            "if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('RENAME', KEYS[1], KEYS[2]) end return 1", 2, server.key(old), server.key(new)
        )


def _finish(server: RedisServer) -> None:
    """Write the facts that the present version needs, and its number."""
    client = server.client
    places = int(client.llen(server.key("log")))
    seconds, microseconds = client.time()
    now = seconds + microseconds / 1e6
    number, partition = str(places), (1).to_bytes(8, "big") + partition_value(now)
    ops: list[list[object]] = [["SET", server.key("position"), number], ["SET", server.key("moved"), number]]
    if places:
        ops += [["HSET", server.key("partitions"), "0", binary(partition)], ["SET", server.key("newest"), "0"]]
        ops.append(["HSET", server.key("sizes"), "0", str(_size(server, places))])
    ops += [["HSET", server.key("tombstones"), digest, repr(now)] for digest in server.names("forgotten")]
    epoch, contents = int(client.get(server.key("epoch")) or 0), server.hash("snapshots:content")
    for name, text in server.hash(SNAPSHOTS).items():
        position, count, last = decode(text)[:3]
        content = server.key(f"state:{uuid.uuid4().hex}")
        ops.append(["SET", content, binary(contents.get(name, b""))])
        ops.append(["HSET", server.key(SNAPSHOTS), name, State(position, count, last, epoch, now, content).text])
    ops += [["UNLINK", server.key(name)] for name in ("log", "forgotten", "snapshots:content")]
    ops.append(["SET", server.key("log"), "moved to the stream"])  # no list any more, so a program of version 2 that still runs gets errors
    ops.append(["SET", server.key("version"), str(VERSION)])
    version: Any = client.get(server.key("version"))
    checks = [(version.decode(), "GET", server.key("version")), (number, "LLEN", server.key("log"))]
    if version != str(VERSION).encode() and server.commit(checks, ops) is None:
        migrate(server)  # another process has written or finished meanwhile


def _size(server: RedisServer, places: int) -> int:
    """Return the size of the log in bytes, estimated from some places."""
    kept = server.client.lrange(server.key("log"), max(0, places - _SAMPLE), -1)
    sizes = []
    for place in map(decode, kept):
        kind, name, decision_id = place[:3]
        sizes.append(server.client.memory_usage(server.key(f"feedback:{name}" if kind == "feedback" else f"decision:{decision_id}")) or 0)
    return round((sum(sizes) / max(len(sizes), 1) + 100) * places)
