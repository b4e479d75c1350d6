"""Moving the keys of a gateway, and what they have spent, to another store."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from aamc_gateway.access.keys import Key, read_keys, write_keys
from aamc_gateway.access.limit_claims import Demand, Holder, claims_of
from aamc_gateway.access.settings import Limits
from aamc_gateway.access.shared import NO_LIMIT, Claim, SharedState
from aamc_sdk.config import configure, unstructure
from aamc_sdk.errors import ConfigError, DataError
from aamc_sdk.types import tenant_user, visible_text

_SCHEMA = 1
_EVERY_BUDGET = Limits(usd_per_day=NO_LIMIT, usd_per_month=NO_LIMIT, usd_total=NO_LIMIT)
"""Budgets of every period, which no spending exceeds: those of tenants and users are in the gateway's configuration."""


@attrs.frozen(kw_only=True)
class ExportedKeys:
    """The keys of a gateway, with their hashes; they have no secrets.

    Attributes:
        schema: The version of the format.
        keys: The keys, revoked and expired ones too.
        spent_usd: The spending of the keys, and of their tenants and users, in the present day and month and in all, by counter.
    """

    schema: int
    keys: tuple[Key, ...]
    spent_usd: Mapping[str, float] = attrs.Factory(dict)


async def export_keys(shared: SharedState) -> dict[str, Any]:
    """Return all keys and their spending as a JSON object."""
    keys = await read_keys(shared)
    counters = list(_budgets(keys, time.time()))
    spent = dict(zip(counters, await shared.read(counters, held=False), strict=True))
    document: dict[str, Any] = unstructure(
        ExportedKeys(schema=_SCHEMA, keys=tuple(keys), spent_usd={name: usd for name, usd in spent.items() if usd > 0})
    )
    return document


def read_export(document: Mapping[str, Any], where: str) -> ExportedKeys:
    """Return the keys of a JSON object that :func:`export_keys` made.

    Raises:
        DataError: It is not an export, or is one of another version.
    """
    if (schema := document.get("schema", _SCHEMA)) != _SCHEMA:
        raise DataError(f"{where} has schema {schema!r:.80}, not {_SCHEMA}: another version made it; export the keys with this one")
    try:
        return configure(ExportedKeys, document, where=where)
    except ConfigError as error:
        raise DataError(f"this is not a file of aamc keys export: {error}") from error


async def import_keys(shared: SharedState, exported: ExportedKeys, where: str) -> tuple[int, int]:
    """Keep exported keys, and raise spending to theirs; return the number of keys, and of those that are new. A repetition changes nothing.

    Raises:
        DataError: A key's name is that of another active key.
    """
    now = time.time()

    async def imported() -> Sequence[Key]:
        known = {key.id: key for key in await read_keys(shared)}
        new = [key for key in exported.keys if key.id not in known]
        names = {visible_text(key.name) for key in known.values() if key.state(now) == "active"}
        if taken := next((key.name for key in new if visible_text(key.name) in names and key.state(now) == "active"), None):
            raise DataError(f"{where}: there is another key named {taken!r}; revoke one of both before")
        return new

    new = await write_keys(shared, imported)
    budgets = _budgets(exported.keys, now)
    present = await shared.read(list(budgets), held=False)
    missing = [max(0.0, exported.spent_usd.get(name, 0.0) - usd) for name, usd in zip(budgets, present, strict=True)]
    claims = list(budgets.values())
    token, _ = await shared.reserve(claims)
    shared.settle(token, claims, missing)
    return len(exported.keys), len(new)


def _budgets(keys: tuple[Key, ...] | list[Key], now: float) -> dict[str, Claim]:
    """Return claims of nothing on the budgets of keys, their tenants and their users, by counter."""
    holders = [Holder("key", key.id, key.name, _EVERY_BUDGET) for key in keys]
    holders += [Holder("tenant", key.tenant, key.tenant, _EVERY_BUDGET) for key in keys if key.tenant is not None]
    holders += [Holder("user", tenant_user(key.user, key.tenant or ""), key.user, _EVERY_BUDGET) for key in keys if key.user is not None]
    return {each.claim.counter: each.claim for holder in holders for each in claims_of(holder, Demand(0.0, 0.0, 0.0), now)}
