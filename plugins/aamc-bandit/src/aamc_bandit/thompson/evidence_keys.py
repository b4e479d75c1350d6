"""The entities that a decision belongs to: its category, its user and its session. Ids of different tenants and users never share a name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from aamc_bandit.thompson.options import ThompsonOptions
from aamc_sdk.types import SEPARATOR, Estimates, Query, tenant_user


class EvidenceKeys(NamedTuple):
    """The names of the entities that a decision belongs to; None where there is none."""

    category: str | None = None
    user: str | None = None
    session: str | None = None


def evidence_keys(config: ThompsonOptions, queries: Sequence[Query], estimates: Estimates) -> list[EvidenceKeys]:
    """Return each query's most probable category, its user and its session."""
    found = []
    for query, probabilities in zip(queries, estimates.categories.tolist(), strict=True):
        user = tenant_user(query.user, query.tenant) if query.user is not None and config.enable_personalization else None
        session = query.session
        if session is not None and not config.shared_sessions:
            session = session_key(session, query.user, query.tenant)
        found.append(EvidenceKeys(_most_probable(probabilities, estimates.category_names), user, session))
    return found


def _most_probable(probabilities: list[float], names: Sequence[str]) -> str | None:
    """Return a query's most probable category, the alphabetically first of ties; None where all probabilities are zero or NaN, or there is none."""
    maximum = max(probabilities, default=0.0)
    return min(name for name, probability in zip(names, probabilities, strict=True) if probability == maximum) if maximum > 0 else None


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
