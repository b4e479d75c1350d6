"""Erasing a user or a tenant from the log, including entries that come late."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping

import attrs

from aamc_sdk.log.rows.decision_row import redacted_fields, with_query
from aamc_sdk.log.rows.row import DECISION, Row, columns_of
from aamc_sdk.types import SEPARATOR, tenant_user, text_hash


def erased(row: Row, *, without_tenant: bool = False) -> Row:
    """Return a decision's row without user, session, prompt, embedding and fingerprint; optionally without the tenant's name."""
    fields = redacted_fields(row) | {"user": None, "session": None}
    for name in ("turns", "tenant") if without_tenant else ("turns",):
        fields.pop(name, None)
    return with_query(row, fields, embedding=None, fingerprint="")


def user_digest(user: str) -> str:
    """Return the digest that the log keeps of a forgotten user, so that copies of the user's records are recognised later."""
    return text_hash(f"forgotten by aamc: {user}")


@attrs.define
class Erasure:
    """An erasure of decisions: those of a user, of a tenant, or of a user within a tenant.

    Attributes:
        user: The user; None for all users of the tenant, and then the tenant's name is erased too.
        tenant: The tenant; None for the user in all tenants.
        latest: The time of the latest decision that was erased. If it is ahead of this machine's clock, the store keeps it with the digest, so
            that a copy of the decision cannot bring the user back.
    """

    user: str | None
    tenant: str | None = None
    latest: float = attrs.field(default=0.0, init=False)

    @property
    def digest(self) -> str:
        """The digest that stays, see :func:`user_digest`."""
        return user_digest(tenant_user(self.user or "", self.tenant))

    def covers(self, row: Row) -> bool:
        """Return whether a decision is one of these."""
        columns = columns_of(row)
        return (self.user is None or columns["user_id"] == self.user) and (self.tenant is None or columns["tenant"] == self.tenant)

    def applied(self, row: Row) -> Row:
        """Return a decision's row, erased; update ``latest``."""
        self.latest = max(self.latest, row.time)
        return erased(row, without_tenant=self.user is None)


def erased_if_forgotten(rows: Iterable[Row], forgotten: Mapping[str, float]) -> list[Row]:
    """Return rows with the decisions erased that forgotten users and tenants made before they were forgotten.

    Such decisions come late: from a spool, an import, or a copy of the log. Decisions without a time (0) are treated as new. ``forgotten`` has the
    time at which each user was forgotten, by the user's digest.
    """
    if not forgotten:
        return list(rows)
    return [_erased_if_forgotten(row, forgotten) if row.kind == DECISION else row for row in rows]


def _erased_if_forgotten(row: Row, forgotten: Mapping[str, float]) -> Row:
    columns = columns_of(row)
    for erasure in _erasures_of(columns["user_id"], columns["tenant"]):
        if 0 < row.time <= forgotten.get(erasure.digest, -math.inf):  # 0 is unknown, and taken for now
            return erasure.applied(row)
    return row


def is_forgotten(name: str, forgotten: Container[str]) -> bool:
    """Return whether a user, named by id or by :func:`aamc_sdk.types.tenant_user`, is among the digests of those who were forgotten."""
    tenant, separator, user = name.rpartition(SEPARATOR)
    return any(erasure.digest in forgotten for erasure in _erasures_of(user, tenant if separator else None))


def _erasures_of(user: str | None, tenant: str | None) -> list[Erasure]:
    """Return the erasures that cover a user of a tenant; first that of the tenant, which erases its name too."""
    erasures = [] if tenant is None else [Erasure(None, tenant)]
    return erasures if user is None else [*erasures, Erasure(user), Erasure(user, tenant)]
