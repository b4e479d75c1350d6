"""Signing in to the dashboard: an admin key is exchanged for a cookie, so that no key is kept in the browser or stands in an address.

The cookie is a random token. The shared state keeps its hash for ``SESSION_S``, so that every worker accepts it, and the hash of the key: the
session ends with the key.
"""

from __future__ import annotations

import hashlib
import secrets
import time

import orjson
from starlette.types import Receive, Scope, Send

from aamc_gateway.access.callers import Caller, Refused
from aamc_gateway.access.keys import digest_of, key_with_id
from aamc_gateway.requests.bodies import header, read_small_json
from aamc_gateway.server.gateway import Gateway
from aamc_gateway.server.http.answers import send_safe_json

COOKIE = "aamc_dashboard"
SESSION_S = 12 * 3600.0
"""Time after which people sign in again, in seconds."""
FAILURES_A_MINUTE = 30
"""Maximum number of wrong keys from one address in a minute; further ones get status 429."""
_NO_ADMIN_KEY = "this is not a valid admin key of this gateway; make one with: aamc keys add NAME --admin"


async def admin_caller(gateway: Gateway, scope: Scope) -> Caller:
    """Return the admin who sends a request, by the cookie or by a key in the headers.

    Raises:
        Refused: It is not an admin, or the request comes from another site's page.
    """
    if token := _cookie(scope):
        found = await _session(gateway, token)
        if found is not None:
            check_origin(scope)
            return found
    caller = await gateway.access.caller(scope["headers"])
    caller.check_admin()
    return caller


def check_origin(scope: Scope) -> None:
    """Refuse a request that writes from a page of another site."""
    origin, host, site = (header(scope["headers"], name) for name in (b"origin", b"host", b"sec-fetch-site"))
    is_own = not origin or origin.rpartition("://")[2] == host or site == "same-origin"  # a page cannot set the last
    if scope["method"] not in ("GET", "HEAD") and not is_own:
        why = f"the request comes from a page of another site: its Origin is {origin[:80]!r} and its Host {host[:80]!r}"
        raise Refused(f"{why}; if a proxy changes Host, let it pass the client's on", status=403, kind="permission")


async def login(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """``POST /dashboard/login``: exchange an admin key for the cookie."""
    check_origin(scope)
    key = (await read_small_json(gateway.large_bodies, scope, receive, '{"key": ...}')).get("key")
    if not isinstance(key, str) or not key or not key.isascii() or not key.isprintable():
        await _count_failure(gateway, scope)
        raise Refused(_NO_ADMIN_KEY, status=401, kind="authentication")
    try:
        caller = await gateway.access.caller([(b"authorization", b"Bearer " + key.encode()), *scope["headers"]])
        caller.check_admin()
    except Refused as refusal:
        if refusal.kind in ("authentication", "permission"):
            await _count_failure(gateway, scope)
        if refusal.kind == "authentication":  # which speaks of headers
            raise Refused(_NO_ADMIN_KEY, status=401, kind="authentication") from refusal
        raise
    token = secrets.token_urlsafe(32)
    session = {"key_id": caller.key_id, "name": caller.name, "digest": digest_of(key).hex()}
    await gateway.shared.put(_name(token), orjson.dumps(session), SESSION_S)
    await send_safe_json(send, {"schema": 1, "signed_in": True}, headers=[(b"set-cookie", _set_cookie(scope, token, SESSION_S))])


async def _count_failure(gateway: Gateway, scope: Scope) -> None:
    """Count a wrong key. The right one is never refused: behind a proxy, everybody has the proxy's address."""
    address = (scope.get("client") or ("",))[0]
    if not await gateway.shared.count(f"dashboard/login/{address}", 1, FAILURES_A_MINUTE, 60.0):
        raise Refused("too many wrong keys from this address; try again in a minute", status=429, kind="rate_limit", retry_after_s=60.0)


async def logout(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """``POST /dashboard/logout``: end the session."""
    check_origin(scope)
    if token := _cookie(scope):
        await gateway.shared.delete(_name(token))
    await send_safe_json(send, {"schema": 1, "signed_in": False}, headers=[(b"set-cookie", _set_cookie(scope, "", 0))])


async def session(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """``GET /dashboard/session``: whether the browser is signed in, or needs not to be."""
    token = _cookie(scope)
    has_cookie = bool(token) and await _session(gateway, token) is not None
    try:
        await admin_caller(gateway, scope)
    except Refused as refusal:
        if refusal.kind not in ("authentication", "permission"):
            raise
        await send_safe_json(send, {"schema": 1, "signed_in": False, "has_cookie": False})
        return
    await send_safe_json(send, {"schema": 1, "signed_in": True, "has_cookie": has_cookie})


async def _session(gateway: Gateway, token: str) -> Caller | None:
    """Return the admin of a session; None without one, or once its key was rotated, revoked or removed, or has expired."""
    kept = await gateway.shared.get(_name(token))
    if not kept:
        return None
    found, now = orjson.loads(kept), time.time()
    digest = bytes.fromhex(found["digest"])
    key = await key_with_id(gateway.shared, found["key_id"])
    if gateway.access.is_admin_key(digest) or (key is not None and key.state(now) == "active" and key.matches(digest, now)):
        return Caller(key_id=found["key_id"], name=found["name"], admin=True)
    return None


def _name(token: str) -> str:
    return f"dashboard/{hashlib.sha256(token.encode()).hexdigest()}"


def _cookie(scope: Scope) -> str:
    for part in header(scope["headers"], b"cookie").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value
    return ""


def _set_cookie(scope: Scope, token: str, seconds: float) -> bytes:
    is_secure = scope.get("scheme") == "https" or header(scope["headers"], b"x-forwarded-proto") == "https"
    return f"{COOKIE}={token}; Path=/; Max-Age={seconds:.0f}; HttpOnly; SameSite=Strict{'; Secure' if is_secure else ''}".encode()
