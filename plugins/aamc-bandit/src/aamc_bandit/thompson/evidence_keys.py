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
    categories: list[str | None] = [None] * len(queries)
    if names := estimates.category_names:
        categories = [_most_probable(row, names) for row in estimates.categories.tolist()]
    return [EvidenceKeys(category, _user_of(config, query), _session_of(config, query)) for category, query in zip(categories, queries, strict=True)]


def _most_probable(probabilities: list[float], names: Sequence[str]) -> str | None:
    """Return a query's most probable category, the alphabetically first of ties; None where all probabilities are zero or NaN."""
    maximum = max(probabilities)
    if not maximum > 0:
        return None
    if probabilities.count(maximum) == 1:  # the common case, and faster
        return names[probabilities.index(maximum)]
    return min(name for name, probability in zip(names, probabilities, strict=True) if probability == maximum)


def _user_of(config: ThompsonOptions, query: Query) -> str | None:
    return None if query.user is None or not config.enable_personalization else tenant_user(query.user, query.tenant)


def _session_of(config: ThompsonOptions, query: Query) -> str | None:
    if query.session is None or config.shared_sessions:
        return query.session
    return session_key(query.session, query.user, query.tenant)


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
