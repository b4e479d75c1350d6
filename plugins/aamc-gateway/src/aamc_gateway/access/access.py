"""Access: the callers that may use the gateway, and their limits."""

from __future__ import annotations

import asyncio
import hmac
import math
import os
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aamc_models import foreign_header, is_loopback

from aamc_gateway.access.admission import Admission, Reservation
from aamc_gateway.access.callers import Caller, Refused, refused_for_now
from aamc_gateway.access.keys import FRESH_S, GROUP, Key, KeyRing, any_has_tenant, digest_of, read_keys
from aamc_gateway.access.limit_claims import USUAL_ADVICE, Advice, Demand, Holder, LimitedClaim, budgets_of, claims_of, counters_of
from aamc_gateway.access.settings import CHEAPER, NO_LIMITS, AccessSettings, Limits
from aamc_gateway.access.shared import SharedState
from aamc_sdk.errors import ConfigError, StoreAwayError
from aamc_sdk.types import tenant_user

Headers = Sequence[tuple[bytes, bytes]]
"""The headers of an ASGI scope, with names in lower case."""
_MIN_ADMIN_KEY = 20
FEEDBACK_PER_REQUEST = 10
"""Pieces of feedback that count as one request: an answer may get some from its user and from judges, and revisions."""
_FULL_S = 0.25
"""Time for which a worker remembers which candidates are over their limits, in seconds."""
_AT_ONCE = 1000
"""Counters that are read at once: requests that reserve wait for one such read at most."""
_MISSING = "send a key as 'Authorization: Bearer KEY' or 'x-api-key: KEY'; an administrator makes one with: aamc keys add NAME"


class Access:
    """Knows the keys, budgets and limits of a gateway.

    Attributes:
        keys: The keys that were read lately.

    Raises:
        ConfigError: The admin key of the environment is too short.
    """

    def __init__(self, settings: AccessSettings, shared: SharedState) -> None:
        self._settings, self._shared = settings, shared
        self.keys = KeyRing(shared, settings.limits)
        self._models = dict(settings.models)
        self._admin = Caller(key_id="admin", name="admin", admin=True)
        self._admin_digest = _admin_digest(settings.admin_key_env)
        self._local = Caller(name="local", admin=True, limits=settings.limits)
        self._needs_keys = bool(self._admin_digest)
        self._checked = self._tenants_checked = -math.inf
        self._has_tenants = False
        self._full: tuple[float, Mapping[str, LimitedClaim]] = (-math.inf, {})

    async def check_listening(self, host: str) -> None:
        """Raise ConfigError if a gateway without keys would listen beyond this machine."""
        if not is_loopback(host) and await self.is_open():
            named = "where URL is the log that aamc serve --store names"
            make = f"aamc keys add NAME --admin --store URL, {named}, or by the environment variable {self._settings.admin_key_env}"
            raise ConfigError(f"without keys the gateway listens on 127.0.0.1 only, not on {host!r}: make a key first, with {make}")

    async def is_open(self) -> bool:
        """Return whether requests need no key."""
        return not self._needs_keys and not await self._has_keys()

    async def caller(self, headers: Headers) -> Caller:
        """Return the caller of a request, by ``Authorization: Bearer KEY``, ``x-api-key`` or ``api-key``.

        Without any keys every request of this machine is the admin's.

        Raises:
            Refused: The key is missing, unknown, expired or revoked.
        """
        key = _key_in(headers)
        try:
            if await self.is_open():
                _check_local(headers)
                return self._local
            if not key:
                raise Refused(f"this gateway needs a key: {_MISSING}", status=401, kind="authentication")
            found = await self.keys.find(key)
        except StoreAwayError as error:
            raise refused_for_now("keys cannot be checked now") from error
        if found is None:
            if self.is_admin_key(digest_of(key)):
                return self._admin
            raise Refused(f"this key is unknown here; {_MISSING}", status=401, kind="authentication")
        state = found[0].state(time.time())
        if state != "active":
            raise Refused(f"the key {found[0].name!r} is {state}; {_MISSING}", status=401, kind="authentication")
        return found[1]

    def is_admin_key(self, digest: bytes) -> bool:
        """Return whether a hash is that of the admin key of the environment."""
        return bool(self._admin_digest) and hmac.compare_digest(self._admin_digest, digest)

    def is_limited(self, caller: Caller, user: str | None) -> bool:
        """Return whether a request of a caller for a user has a budget or another limit."""
        return any(holder.limits != NO_LIMITS for holder in self._holders(caller, caller.user or user))

    async def admit(
        self,
        caller: Caller,
        *,
        max_cost_usd: float = math.nan,
        minimum_cost_usd: float | None = None,
        costs_usd: Sequence[float] = (),
        tokens: int = 0,
        calls: int = 1,
        user: str | None = None,
        advice: Advice = USUAL_ADVICE,
    ) -> Admission:
        """Admit a request: reserve its maximum cost and its share of the limits in all budgets of its key, tenant and user at once.

        Args:
            caller: The caller.
            max_cost_usd: The maximum cost in USD over all candidates that may answer, NaN if unknown.
            minimum_cost_usd: The maximum cost of the cheapest candidate, NaN if unknown; used where ``over_budget`` is ``cheaper``.
            costs_usd: The maximum cost of each candidate. If less than ``max_cost_usd`` is left, the largest of them that fits is reserved.
            tokens: The estimated tokens of the prompt, and the maximum of the answer, of one call.
            calls: The maximum number of calls.
            user: The user that the request names; the key's own user has priority.
            advice: What the client is advised if the request does not fit.

        Raises:
            Refused: A limit or budget has not enough left.
        """
        holders = self._holders(caller, caller.user or user)
        minimum_usd = max_cost_usd
        if self._settings.over_budget == CHEAPER and minimum_cost_usd is not None and not math.isnan(minimum_cost_usd):
            minimum_usd = minimum_cost_usd
            max_cost_usd = minimum_usd if math.isnan(max_cost_usd) else max_cost_usd
        demand = Demand(max_cost_usd, minimum_usd, float(tokens * calls), costs_usd, advice)
        reservation = await Reservation.make(self._shared, holders, demand)
        return Admission(self._shared, reservation, self._models, float(tokens), advice)

    @asynccontextmanager
    async def admitted(self, caller: Caller, user: str | None = None) -> AsyncIterator[None]:
        """Admit a request that costs nothing, for the time of a block; raises as :meth:`admit` does."""
        admission = await self.admit(caller, max_cost_usd=0.0, user=user)
        try:
            yield
        finally:
            admission.settle(0.0, 0)

    async def admit_feedback(self, caller: Caller) -> None:
        """Count a piece of feedback by the limits of requests per minute, each times ``FEEDBACK_PER_REQUEST``; requests and budgets are not affected.

        Raises:
            Refused: There was too much feedback in the last minute.
        """
        holders = [
            Holder(each.kind, f"feedback/{each.id}", f"feedback of {each.label}", Limits(requests_per_minute=FEEDBACK_PER_REQUEST * most))
            for each in self._holders(caller, caller.user)
            if (most := each.limits.requests_per_minute) is not None
        ]
        (await Reservation.make(self._shared, holders, Demand(0.0, 0.0, 0.0))).settle(0.0, 0)

    def cheaper(self, costs_usd: Mapping[str, float], left_usd: float) -> Sequence[str]:
        """Return the candidates that cost no more than a budget has left, where ``over_budget`` sends requests to a cheaper one; else none."""
        return [name for name, cost in costs_usd.items() if cost <= left_usd] if self._settings.over_budget == CHEAPER else ()

    async def full(self) -> Mapping[str, LimitedClaim]:
        """Return the candidates that have used up a limit of their own, each with the claim on the limit that is renewed last."""
        read, full = self._full
        if time.monotonic() < read + _FULL_S:
            return full
        now, demand = time.time(), Demand(0.0, 0.0, 0.0)
        claims = [one for name, limits in self._models.items() for one in claims_of(Holder("model", name, name, limits), demand, now)]
        try:
            used = await self._shared.read([one.claim.counter for one in claims])
        except StoreAwayError:  # a call of such a candidate is refused later
            return full
        found: dict[str, LimitedClaim] = {}
        for one, amount in zip(claims, used, strict=True):
            known = found.get(one.holder.id)
            if amount >= one.claim.limit and (known is None or one.passes_at(now) > known.passes_at(now)):
                found[one.holder.id] = one
        self._full = time.monotonic(), found
        return found

    def _holders(self, caller: Caller, user: str | None) -> list[Holder]:
        """Return the key and the tenant of a request, whose spending counts without a limit too, and whoever else has limits."""
        settings = self._settings
        found = []
        if caller.key_id or caller.limits != NO_LIMITS:
            who = f"the key {caller.name!r}" if caller.key_id else "this gateway"
            found.append(Holder("key", caller.key_id, who, caller.limits))
        if caller.tenant is not None:
            limits = _named(settings.tenants, caller.tenant) or NO_LIMITS
            found.append(Holder("tenant", caller.tenant, f"the tenant {caller.tenant!r}", limits))
        if user is not None and (own := _named(settings.users, user)) is not None:
            found.append(Holder("user", tenant_user(user, caller.tenant or ""), "this user", own))
        return found

    async def spending(self) -> list[dict[str, Any]]:
        """Return budgets and spending in USD of the active keys, of tenants, and of the users that keys or the settings name.

        Other users are counted under digests of their names, so they cannot be listed. Users without spending are left out. Many keys take
        seconds: a worker thread handles them, and counters are read in parts, so that requests are served meanwhile.
        """
        now = time.time()
        found = await asyncio.to_thread(self._spenders, await read_keys(self._shared), now)
        counters = [counter for *_, own in found for counter in own]
        used = [usd for n in range(0, len(counters), _AT_ONCE) for usd in await self._shared.read(counters[n : n + _AT_ONCE], held=False)]
        return await asyncio.to_thread(_spending_rows, found, used)

    def _spenders(self, keys: Sequence[Key], now: float) -> list[tuple[Holder, Caller, Sequence[str]]]:
        """Return the holders whose spending is shown, each with a caller of it and its counters."""
        settings = self._settings
        callers = [key.caller(settings.limits) for key in keys if key.state(now) == "active"]
        if self._admin_digest:
            callers.append(self._admin)
        elif not callers:
            callers.append(self._local)
        tenants = {caller.tenant for caller in callers} | (settings.tenants.keys() - {"*"})
        callers += [Caller(tenant=tenant, user=user) for tenant in tenants for user in (None, *(settings.users.keys() - {"*"}))]
        found = {holder.scope: (holder, caller) for caller in callers for holder in self._holders(caller, caller.user)}
        return [(holder, caller, counters_of(holder, now)) for holder, caller in found.values()]

    async def has_tenants(self) -> bool:
        """Return whether a key has a tenant; once one has, that is so for good."""
        if not self._has_tenants and time.monotonic() > self._tenants_checked + FRESH_S:
            self._has_tenants = await any_has_tenant(self._shared)
            self._tenants_checked = time.monotonic()
        return self._has_tenants

    async def _has_keys(self) -> bool:
        """Return whether there are, or have been, keys: from the first one on, requests need a key. If the store is away, the last result holds."""
        if not self._needs_keys and time.monotonic() > self._checked + FRESH_S:
            try:
                self._needs_keys = bool(await self._shared.scan(GROUP))
            except StoreAwayError:
                if self._checked == -math.inf:
                    raise
            self._checked = time.monotonic()
        return self._needs_keys


def _spending_rows(found: Sequence[tuple[Holder, Caller, Sequence[str]]], used: Iterable[float]) -> list[dict[str, Any]]:
    """Return the rows of :meth:`Access.spending` from what the holders' counters have used."""
    amounts, rows = iter(used), []
    for holder, caller, _ in found:
        budgets = dict(budgets_of(holder.limits))
        spent = {period: next(amounts) for period in budgets}
        if holder.kind != "user" or any(spent.values()):
            name = {"key": caller.name, "tenant": caller.tenant, "user": caller.user}[holder.kind]
            rows.append({"kind": holder.kind, "name": name, "tenant": caller.tenant, "budget_usd": budgets, "spent_usd": spent})
    return sorted(rows, key=lambda row: (row["kind"], row["name"], row["tenant"] or ""))


def _named(limits: Mapping[str, Limits], name: str) -> Limits | None:
    """Return the limits of a name, else those of ``*``."""
    return limits.get(name) or limits.get("*")


def _admin_digest(variable: str) -> bytes:
    """Return the hash of the admin key in an environment variable; ``b""`` without one."""
    key = os.environ.get(variable, "") if variable else ""
    if key and len(key) < _MIN_ADMIN_KEY:
        raise ConfigError(
            f"the admin key in {variable} must have at least {_MIN_ADMIN_KEY} characters, not {len(key)}; make one with: openssl rand -hex 32"
        )
    return digest_of(key) if key else b""


def _key_in(headers: Headers) -> str:
    """Return the key in the headers of a request; ``""`` without one."""
    for name, value in headers:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return value[7:].strip().decode("latin-1")
        if name in (b"x-api-key", b"api-key"):
            return value.strip().decode("latin-1")
    return ""


def _check_local(headers: Headers) -> None:
    """Refuse a request to a gateway without keys from another machine, or from another site's page in a browser."""
    if found := foreign_header(headers):
        why = f"a gateway without keys answers requests of this machine only, not those with {found}; make a key with: aamc keys add NAME"
        raise Refused(why, status=403, kind="permission")
