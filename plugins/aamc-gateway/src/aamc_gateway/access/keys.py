"""Keys of callers, kept as hashes.

A key holds 256 random bits, so its plain SHA-256 cannot be reversed by guessing; a slow hash protects passwords that people choose, and would
cost each request milliseconds. A key's id, which stands in front of its secret, is public.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

import attrs

from aamc_gateway.access.callers import Caller
from aamc_gateway.access.settings import NO_LIMITS, Limits
from aamc_gateway.access.shared import SharedState
from aamc_sdk.config import configure, unstructure
from aamc_sdk.errors import ConfigError, DataError, StoreAwayError, StoreError
from aamc_sdk.messages import unknown_name
from aamc_sdk.types import visible_text

logger = logging.getLogger(__name__)
PREFIX = "sk-aamc-"
"""The prefix of every key, by which scanners of leaked secrets find it."""
GROUP = "keys"
"""The group of the keys in the shared state."""
FRESH_S = 2.0
"""Time in seconds for which a worker uses a key that it has read: a revoked key is refused after this time at the latest."""
_VERSION = "keys-version"
"""The key of a value that each change of the keys replaces."""
_ID_LENGTH = 12
_MAX_UNKNOWN = 1000


def new_key(key_id: str) -> str:
    """Return a new key with an id."""
    return f"{PREFIX}{key_id}-{secrets.token_urlsafe(32)}"


def id_of(key: str) -> str:
    """Return the id in a key; ``""`` if the text has not the form of a key."""
    found, dash, _ = key.removeprefix(PREFIX).partition("-")
    return found if dash and len(found) == _ID_LENGTH and key.startswith(PREFIX) else ""


def digest_of(key: str) -> bytes:
    """Return the hash of a key."""
    return hashlib.sha256(key.encode()).digest()


def _check_digest(key: Key, attribute: attrs.Attribute[str], value: str) -> None:
    if value != attribute.default and not re.fullmatch("[0-9a-f]{64}", value):
        raise ConfigError(f"{attribute.name} must be a SHA-256 in hexadecimal digits, not {value!r:.80}")


@attrs.frozen(kw_only=True)
class Key:
    """A key as it is stored, with its hash instead of its secret.

    Attributes:
        id: Its id.
        name: Its name, for people.
        digest: Its hash, in hexadecimal digits.
        created: When it was made, in seconds since the epoch.
        tenant: The tenant that it belongs to; None for none.
        user: The user that it belongs to; None if requests may name their users.
        admin: Whether it opens the dashboard and ``/metrics``, and may give feedback and vote as an admin.
        models: Names of the candidates and orchestrators that it may use; empty for all.
        limits: Its budgets and limits; None for those of the settings.
        expires: When it ends, in seconds since the epoch; None for never.
        revoked: When it was revoked; None if it was not.
        old_digest: The hash of the secret that a rotation replaced; ``""`` for none.
        old_until: When that secret ends.
    """

    id: str
    name: str
    digest: str = attrs.field(validator=_check_digest)
    created: float
    tenant: str | None = None
    user: str | None = None
    admin: bool = False
    models: tuple[str, ...] = ()
    limits: Limits | None = None
    expires: float | None = None
    revoked: float | None = None
    old_digest: str = attrs.field(default="", validator=_check_digest)
    old_until: float = 0.0

    def matches(self, digest: bytes, now: float) -> bool:
        """Return whether a hash is that of its secret; how long that takes says nothing about the secret."""
        new = hmac.compare_digest(bytes.fromhex(self.digest), digest)
        old = hmac.compare_digest(bytes.fromhex(self.old_digest), digest) if self.old_digest else False
        return new or (old and now < self.old_until)

    def state(self, now: float) -> str:
        """Return ``"active"``, ``"revoked"`` or ``"expired"``."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and now >= self.expires else "active"

    def caller(self, default: Limits) -> Caller:
        """Return the caller that it stands for, with default limits."""
        return Caller(
            key_id=self.id,
            name=self.name,
            tenant=self.tenant,
            user=self.user,
            admin=self.admin,
            models=frozenset(self.models),
            limits=self.limits or default,
        )

    def to_bytes(self) -> bytes:
        """Return it as JSON."""
        return json.dumps(unstructure(self)).encode()

    @classmethod
    def from_bytes(cls, value: bytes) -> Key:
        """Return the key of :meth:`to_bytes`.

        Raises:
            StoreError: The value is damaged.
        """
        try:
            return configure(cls, json.loads(value), where="the kept key")
        except (ValueError, RecursionError) as error:
            raise StoreError(f"a key is damaged ({error}; it begins {value[:40]!r}): restore a copy of the gateway's shared state") from error


def _fields(value: bytes) -> Mapping[str, Any]:
    """Return a kept key's fields without interpreting them, which takes 0.2 ms; none of a damaged one, so that others can be revoked."""
    try:
        return dict(json.loads(value))
    except (ValueError, TypeError, RecursionError):
        return {}


async def read_keys(shared: SharedState, which: str | None = None) -> list[Key]:
    """Return all keys, or those of an id or name, in the order of their making; revoked and expired ones too.

    Names that differ only by invisible characters are the same: people cannot tell them apart.
    """
    found = list((await shared.scan(GROUP)).values())
    if which is not None:
        seen = visible_text(which)
        found = [value for value in found if seen in ((fields := _fields(value)).get("id"), visible_text(str(fields.get("name", ""))))]
    return await asyncio.to_thread(lambda: sorted(map(Key.from_bytes, found), key=lambda key: (key.created, key.id)))


async def key_with_id(shared: SharedState, key_id: str) -> Key | None:
    """Return the key with an id, a revoked or expired one too; None if there is none."""
    value = await shared.get(f"key/{key_id}")
    return None if value is None else Key.from_bytes(value)


async def any_has_tenant(shared: SharedState) -> bool:
    """Return whether a key has a tenant, a revoked or expired one too; without interpreting all fields, as there may be many keys."""
    return any(_fields(value).get("tenant") for value in (await shared.scan(GROUP)).values())


async def write_keys(shared: SharedState, change: Callable[[], Awaitable[Sequence[Key]]]) -> Sequence[Key]:
    """Store and return the new or changed keys of a function; it is called again if another command has changed keys since it read them."""
    while True:
        version = await shared.get(_VERSION)
        keys = await change()
        if await shared.put_if(_VERSION, version, {f"key/{key.id}": key.to_bytes() for key in keys}, group=GROUP):
            return keys


async def add_key(shared: SharedState, **fields: Any) -> tuple[Key, str]:
    """Make a key and keep its hash; return both.

    Raises:
        DataError: There is an active key of that name.
    """
    name, now, key_id = fields["name"], time.time(), secrets.token_hex(_ID_LENGTH // 2)
    secret = new_key(key_id)

    async def added() -> Sequence[Key]:
        for key in await read_keys(shared, name):
            if key.id != name and key.state(now) == "active":
                raise DataError(f"there is a key named {key.name!r}; choose another name, or use: aamc keys rotate {key.name}")
        return [Key(id=key_id, digest=digest_of(secret).hex(), created=now, **fields)]

    (key,) = await write_keys(shared, added)
    return key, secret


async def find_key(shared: SharedState, which: str) -> Key:
    """Return the key of an id, or the active key of a name."""
    now, found = time.time(), await read_keys(shared, which)
    for key in found:
        if key.id == which or key.state(now) == "active":
            return key
    if found:
        raise DataError(f"the key {which!r} is {found[-1].state(now)}; aamc keys list shows the active ones")
    known = [key.name for key in await read_keys(shared) if key.state(now) == "active"]
    raise DataError(unknown_name("there is no active key of the name or id", which, known, "there are"))


async def rotate_key(shared: SharedState, which: str, grace_s: float) -> tuple[Key, str]:
    """Replace a key's secret; the old one stays valid for some time in seconds. Id, limits and spending stay.

    Raises:
        DataError: There is no such key, or it is not active.
    """
    key_id = (await _active_key(shared, which)).id
    secret = new_key(key_id)

    async def rotated() -> Sequence[Key]:
        key = await _active_key(shared, key_id)
        return [attrs.evolve(key, digest=digest_of(secret).hex(), old_digest=key.digest if grace_s > 0 else "", old_until=time.time() + grace_s)]

    (key,) = await write_keys(shared, rotated)
    return key, secret


async def change_key(shared: SharedState, which: str, changes: Mapping[str, float | None]) -> Key:
    """Change some limits of a key, or ``expires``; None removes one. Id, secret, spending and other limits stay.

    After its last own limit is removed, the key gets those of the settings.

    Raises:
        DataError: There is no such key, or it is not active.
    """

    async def changed() -> Sequence[Key]:
        key = await _active_key(shared, which)
        limits = attrs.evolve(key.limits or NO_LIMITS, **{name: limit for name, limit in changes.items() if name != "expires"})  # type: ignore[arg-type]
        return [attrs.evolve(key, limits=None if limits == NO_LIMITS else limits, expires=changes.get("expires", key.expires))]

    (key,) = await write_keys(shared, changed)
    return key


async def _active_key(shared: SharedState, which: str) -> Key:
    """Return the active key of an id or name."""
    key = await find_key(shared, which)
    if (state := key.state(time.time())) != "active":
        raise DataError(f"the key {key.name!r} ({key.id}) is {state}; make another one with: aamc keys add NAME")
    return key


async def revoke_key(shared: SharedState, which: str) -> Key:
    """Revoke a key. It is kept, so that a gateway whose last key is revoked does not open to anyone."""

    async def revoked() -> Sequence[Key]:
        return [attrs.evolve(await find_key(shared, which), revoked=time.time())]

    (key,) = await write_keys(shared, revoked)
    return key


class _Known(NamedTuple):
    """A cached key: its caller, its stored value, and the time of reading."""

    key: Key
    caller: Caller
    value: bytes
    read: float


class KeyRing:
    """The keys that a worker has read lately.

    Attributes:
        is_lost: Whether a known key is gone: none is ever deleted, so the server of the shared state has lost its data.
    """

    def __init__(self, shared: SharedState, default: Limits) -> None:
        self._shared, self._default = shared, default
        self.is_lost = False
        self._known: dict[str, _Known] = {}
        self._unknown: dict[str, float] = {}

    async def find(self, key: str) -> tuple[Key, Caller] | None:
        """Return a key with its caller, also a revoked or expired one; None if it is unknown.

        Raises:
            StoreAwayError: The shared state is away, and the key was not read before.
        """
        key_id = id_of(key)
        found = self._known.get(key_id)
        if found is None or time.monotonic() > found.read + FRESH_S:
            found = await self._read(key_id, found) if key_id else None
        if found is None or not found.key.matches(digest_of(key), time.time()):
            return None
        return found.key, found.caller

    async def _read(self, key_id: str, known: _Known | None) -> _Known | None:
        """Read a key; while the shared state is away, cached keys stay valid."""
        now = time.monotonic()
        if now < self._unknown.get(key_id, -FRESH_S) + FRESH_S:
            return None
        try:
            value = await self._shared.get(f"key/{key_id}")
        except StoreAwayError:
            if known is None:
                raise
            return known
        if value is None:
            if len(self._unknown) >= _MAX_UNKNOWN:
                self._unknown.clear()
            self._unknown[key_id] = now
            if self._known.pop(key_id, None) is not None and not self.is_lost:
                self.is_lost = True
                advice = "restore the server's data, or make keys anew with: aamc keys add"
                logger.error("the key %r is gone, and no key is ever deleted: the server has lost keys, budgets and sessions; %s", key_id, advice)
            return None
        self.is_lost = False
        if known is not None and value == known.value:  # most are; interpreting one takes longer than a request
            found = known._replace(read=now)
        else:
            key = Key.from_bytes(value)
            found = _Known(key, key.caller(self._default), value, now)
        self._known[key_id] = found
        return found
