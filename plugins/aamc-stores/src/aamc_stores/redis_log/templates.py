"""The templates of a log on a Redis server, see :class:`aamc_sdk.log.Templates`."""

from __future__ import annotations

import hashlib
import threading

from aamc_sdk.log import Row, Templates
from aamc_stores.redis_log.server import Check, Facts, Op, RedisServer, binary


class LogTemplates:
    """A copy of a log's templates, which is brought up to date when it is used.

    A reader and a writer need a copy each: the writer's has templates that are not committed yet.

    Attributes:
        known: The copy, by which contents are unpacked.
    """

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._key = server.key("templates")
        self._lock = threading.Lock()
        self.discard()

    def discard(self) -> None:
        """Forget the known templates after a commit that failed."""
        self.known, self._first = Templates(), ""

    def update(self, facts: Facts) -> bool:
        """Read the templates that are new since the last call; all of them if the log is another one now, and return whether it is."""
        count, first = facts.templates
        with self._lock:
            is_another = count < len(self.known) or bool(self._first and first != self._first)
            if is_another:
                self.discard()
            known = len(self.known)
            if count > known:
                with self._server.explained():
                    found: list[bytes | None] = self._server.client.hmget(self._key, [str(number) for number in range(known + 1, count + 1)])  # type: ignore[assignment]  # never decoded
                self.known.extend(content for content in found if content is not None)  # None: the log is being dropped
            self._first = first
            return is_another

    def pack(self, row: Row, ops: list[Op]) -> bytes:
        """Return a compressed content; a new template is added to the commands that are to be committed with it."""
        packed, template = self.known.pack(row)
        if template is not None:
            if not self._first:
                self._first = hashlib.sha1(template).hexdigest()  # noqa: S324  # to tell logs apart, as the server's script does
            ops.append(["HSET", self._key, str(len(self.known)), binary(template)])
        return packed

    @property
    def check(self) -> Check:
        """The check that no template was added meanwhile; taken before packing."""
        return str(len(self.known)), "HLEN", self._key
