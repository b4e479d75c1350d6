"""Conversations: their ids, from what a client sends or from a hash, and the candidate that answered each last."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from hashlib import blake2b

import msgspec
import orjson

from aamc_gateway.access.shared import SharedState, decoded
from aamc_gateway.server.settings import SessionSettings
from aamc_sdk.errors import StoreAwayError, StoreError

logger = logging.getLogger(__name__)
CALL_KEEP_S = 3600.0
"""Maximum time for which the candidate of a tool call is remembered: its result comes with the conversation's next request."""
_SHARE_S = 1.0
"""Maximum time in seconds for which an answer's end waits until the other workers know who gave it."""
_HEAD = 1000
"""Characters of the system prompt that tell conversations apart: its end often has the date."""


def session_in_metadata(found: str) -> tuple[str | None, str | None]:
    """Return user and session in a field ``metadata.user_id``, as coding agents write them; None for each that is not there."""
    if found.startswith("{"):
        try:
            fields = orjson.loads(found)
        except orjson.JSONDecodeError:
            fields = {}
        session, user = fields.get("session_id"), fields.get("account_uuid") or fields.get("device_id")
        return (user if isinstance(user, str) and user else None), (session if isinstance(session, str) and session else None)
    user, mark, session = found.rpartition("_session_")
    return (user, session) if mark and user and session else (found, None)


def hashed_session(user: str | None, first: str, system: str) -> str:
    """Return the id of a conversation that has none: a hash of its first human message and the head of the system prompt."""
    return _hash(f"{user or ''}\0{first[:100_000]}\0{system[:_HEAD]}\0")


def session_of_user(user: str | None, session: str) -> str:
    """Return a name for a session that no session of another user has."""
    return session if user is None else _hash(f"{user}\0{session}")


def _hash(text: str) -> str:
    return blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()


class Answered(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The last answer of a conversation.

    Attributes:
        candidate: The candidate that gave it.
        at: When, in seconds since the epoch.
        mixed: Whether another candidate has answered before, so that the conversation holds state of both.
    """

    candidate: str
    at: float
    mixed: bool = False


class Sessions:
    """Remembers which candidate answered a conversation last, in this worker's memory and for the other workers."""

    def __init__(self, settings: SessionSettings, shared: SharedState | None) -> None:
        self._settings, self._shared = settings, shared
        self._known: OrderedDict[str, Answered] = OrderedDict()

    def take_over(self, earlier: Sessions) -> None:
        """Share the conversations of the replaced gateway, whose answers in progress still add to them."""
        self._known = earlier._known

    async def find(self, key: str) -> Answered | None:
        """Return the last answer of a conversation; None if it is unknown or forgotten.

        Raises:
            StoreAwayError: This worker does not know it, and the other ones cannot be asked.
        """
        found = self._known.get(key)
        if self._shared is not None:
            try:
                stored = await self._shared.get(f"session:{key}")
            except StoreAwayError:
                if found is None:
                    raise
                stored = None
            other = None if stored is None else decoded(stored, Answered)
            if other is not None and (found is None or other.at > found.at):  # another worker gave it
                found = other
                if key in self._known:
                    self._known[key] = other
        return found if found is not None and time.time() - found.at < self._settings.keep_s else None

    async def note(self, key: str, candidate: str, mixed: bool = False) -> None:
        """Remember the candidate that answered, and whether another one has answered before; in this worker alone while the shared state is away.

        Two conversations that begin alike may share a key.
        """
        before = self._known.pop(key, None)
        mixed = mixed or (before is not None and before.candidate != candidate)
        answered = self._known[key] = Answered(candidate, time.time(), mixed)
        while len(self._known) > self._settings.at_most:  # a reload may have lowered it
            self._known.popitem(last=False)
        if self._shared is not None and (before is None or before.candidate != candidate or answered.at - before.at > self._settings.cache_s / 4):
            put = self._shared.put(f"session:{key}", msgspec.json.encode(answered), self._settings.keep_s)
            try:
                await asyncio.wait_for(put, _SHARE_S)
            except (StoreError, asyncio.TimeoutError) as error:  # the answer is paid, and must not wait or be lost for this
                logger.debug("the other workers do not learn who answered a conversation: %s", error)
