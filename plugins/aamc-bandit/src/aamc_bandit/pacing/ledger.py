"""The state of ``paced``: each tenant's accounts, the learned corrections of the candidates' use, and the recent requests."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from aamc_bandit.pacing.accounts import LEARNED, Account
from aamc_bandit.pacing.options import PACED, PacedOptions
from aamc_bandit.pacing.recent_requests import Note, RecentRequests, noted
from aamc_bandit.pacing.resources import LimitedResource, resources_of
from aamc_bandit.recent_entries import ALL, LATEST, RecentEntries
from aamc_sdk.types import Attempt, Decision, Floats, tenant_user

MAX_TENANTS = 100_000
"""Maximum number of tenants with accounts; the one with the oldest last request goes first."""
Accounts = dict[str, Account]
"""A tenant's account of each limit, by the limit's name."""


class PacingLedger:
    """The state that is learned from the log. Not thread-safe.

    Args:
        config: The router's options.
        limits: The limits, by name.

    Attributes:
        limits: The limits, by name.
        resources: The resource of each limit, with all that was learned.
        recent: The recent requests.
    """

    def __init__(self, config: PacedOptions, limits: Mapping[str, float]) -> None:
        self._config, self.limits = config, dict(limits)
        self.resources = resources_of(limits)
        self.recent = RecentRequests(config.window, self.resources)
        self._tenants: RecentEntries[Accounts] = RecentEntries(MAX_TENANTS)
        self._new_rows: list[Note] = []

    def accounts(self, tenant: str) -> Accounts:
        """Return a tenant's accounts; new ones of an unknown tenant, which are not kept."""
        return self._tenants.get(tenant) or self._new_accounts()

    def each(self, tenants: Sequence[str], read: Callable[[Account], float]) -> Floats:
        """Return a number of the account of each limit and of each of B tenants, ``[K, B]``."""
        known = {tenant: [read(account) for account in self.accounts(tenant).values()] for tenant in set(tenants)}
        return np.array([known[tenant] for tenant in tenants]).reshape(len(tenants), len(self.resources)).T

    def add_decision(self, decision: Decision, tenant: str) -> None:
        """Charge a decision's expected use; where its router did not have a limit, it only counts as a request."""
        accounts, own = self._tenants.mention(tenant, self._new_accounts), decision.notes.get(PACED)
        for resource in self.resources:
            account = accounts[resource.name]
            account.add_request(decision.time)
            spent = float(decision.notes.get("spent_usd", 0.0)) if resource.name.startswith("usd") else 0.0
            account.charge(spent + _charged(resource, own, decision.candidate), decision.time)
        if own is not None and own["limits"].keys() >= self.limits.keys():
            self.add_request({**own, "tenant": tenant})

    def add_call(self, call: Attempt, decision: Decision, tenant: str) -> None:
        """Correct a decision's charge by the reported use of a call. The first call replaces the expected use; later calls add to it."""
        accounts, own = self._tenants.mention(tenant, self._new_accounts), decision.notes.get(PACED)
        name = call.candidate or decision.candidate
        for resource in self.resources:
            figure = noted(own, resource.name, "expected", name)
            used = resource.reported(call)
            resource.learn(name, figure, call)
            if math.isnan(used):  # the expectation stands for what is not reported
                used = resource.charged(noted(own, resource.name, "use", name))
                if not call.n:
                    continue
            expected = 0.0 if call.n else _charged(resource, own, decision.candidate)
            accounts[resource.name].charge(used - expected, decision.time)

    def add_request(self, note: Note) -> None:
        """Add a request to the recent ones, by the note of its decision."""
        self.recent.add(note)
        self._new_rows.append(note)

    def drop_tenants(self, forgotten: Callable[[Collection[str]], Collection[str]]) -> None:
        """Drop the tenants that were forgotten; ``forgotten`` returns those of some names, by :func:`aamc_sdk.types.tenant_user`."""
        dropped = set(forgotten([tenant_user("", tenant) for tenant in self._tenants])) if self._tenants else set()
        self.recent.drop_names({tenant for tenant in self._tenants if tenant_user("", tenant) in dropped})
        self._tenants = self._tenants.without(lambda tenant: tenant_user("", tenant) in dropped)

    def to_dict(self) -> dict[str, Any]:
        """Return the state in JSON's types."""
        return {**self._numbers(self._tenants), "recent": self.recent.to_dict()}

    def set(self, saved: Mapping[str, Any]) -> None:
        """Continue from a state of :meth:`to_dict`."""
        self._tenants.clear()
        self.recent.set(saved["recent"])
        self._set_numbers(saved)

    def delta(self) -> dict[str, Any]:
        """Return the changes since the last call, or since :meth:`set` or :meth:`apply_delta`, in JSON's types."""
        changed = self._tenants.delta()
        tenants = changed[ALL] if ALL in changed else changed[LATEST]
        delta = {**self._numbers(tenants), "rows": self._new_rows, "planned": self.recent.to_dict()["learned"]}
        self._new_rows = []
        return delta

    def apply_delta(self, delta: Mapping[str, Any]) -> None:
        """Take over the changes of another ledger in the same state."""
        for row in delta["rows"]:
            self.recent.add(row)
        self.recent.plan(delta["planned"])
        self._set_numbers(delta)

    def _numbers(self, tenants: Mapping[str, Accounts]) -> dict[str, Any]:
        accounts = {tenant: {name: attrs.asdict(account, filter=LEARNED) for name, account in own.items()} for tenant, own in tenants.items()}
        return {"tenants": accounts, "learned": {resource.name: dict(resource.learned) for resource in self.resources}}

    def _set_numbers(self, saved: Mapping[str, Any]) -> None:
        for tenant, numbers in saved["tenants"].items():
            self._tenants.put(tenant, {each.name: attrs.evolve(each.account(self._config), **numbers[each.name]) for each in self.resources})
        for resource in self.resources:
            resource.learned = {name: list(numbers) for name, numbers in saved["learned"].get(resource.name, {}).items()}
        self._tenants.mark_unchanged()
        self._new_rows = []

    def _new_accounts(self) -> Accounts:
        return {resource.name: resource.account(self._config) for resource in self.resources}


def _charged(resource: LimitedResource, note: Note | None, candidate: str) -> float:
    """Return the charge of a decision for a candidate; 0 where its router did not have the limit."""
    return 0.0 if note is None or resource.name not in note["limits"] else resource.charged(noted(note, resource.name, "use", candidate))
