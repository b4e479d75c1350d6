"""Names of users and sessions in learned state: ids of different tenants and users never share one."""

from __future__ import annotations

from aamc_sdk.types import SEPARATOR, tenant_user


def session_key(session: str, user: str | None = None, tenant: str | None = None) -> str:
    """Return the name of a user's session; each tenant and user, and those without an id, have sessions of their own.

    A session that is named by its id alone, such as one of an imported state, counts for whoever names it.
    """
    return SEPARATOR.join((tenant or "", user or "", session))


def own_id(name: str) -> str:
    """Return the id of a user or session without those of its tenant and user."""
    return name.rpartition(SEPARATOR)[2]


def session_user(name: str) -> str:
    """Return the user that a session's name names, by :func:`aamc_sdk.types.tenant_user`; of a session without a user the tenant's user ``""``."""
    tenant, _, user = name.rpartition(SEPARATOR)[0].rpartition(SEPARATOR)
    return tenant_user(user, tenant or None)
