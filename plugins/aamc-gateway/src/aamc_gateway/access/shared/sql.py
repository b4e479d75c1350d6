"""Shared state in SQL tables, for SQLite and PostgreSQL."""

from __future__ import annotations

import abc
import math
import os
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import orjson

from aamc_gateway.access.shared.accounts import Accounts, Counter, Held
from aamc_gateway.access.shared.operations import (
    LEASE_S,
    RENEWALS,
    Backend,
    Delete,
    Exceeded,
    Get,
    Operation,
    Put,
    PutIf,
    Read,
    Reserve,
    Scan,
    Settle,
)

NEVER = 1e18
"""An infinite time in the tables."""
LAPSED_S = 86400.0
"""Time for which a reservation is kept that was given back, in seconds: its request may still end, and is charged then."""
KEPT_FREE = 0.9
"""Share of its maximum size that a group has after its oldest values went."""
_SUMMED = 0.01
"""Share of its maximum size by which a process lets a group grow until it sums it up again, as that reads the group's whole index."""
TABLES = (
    """CREATE TABLE IF NOT EXISTS {p}values (key TEXT PRIMARY KEY, value {blob} NOT NULL, expires {real} NOT NULL, value_group TEXT NOT NULL,
        written {real} NOT NULL, size INTEGER NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS {p}values_by_group ON {p}values (value_group, written, size)",
    "CREATE INDEX IF NOT EXISTS {p}values_by_expiry ON {p}values (expires)",
    "CREATE TABLE IF NOT EXISTS {p}counters (name TEXT PRIMARY KEY, charged {real} NOT NULL, held {real} NOT NULL, expires {real} NOT NULL)",
    "CREATE INDEX IF NOT EXISTS {p}counters_by_expiry ON {p}counters (expires)",
    "CREATE TABLE IF NOT EXISTS {p}reservations (token TEXT PRIMARY KEY, worker TEXT NOT NULL, held TEXT NOT NULL, lapsed {real} NOT NULL)",
    "CREATE TABLE IF NOT EXISTS {p}workers (worker TEXT PRIMARY KEY, expires {real} NOT NULL)",
)
_DEAD = """SELECT token, held FROM {p}reservations WHERE lapsed = 0 AND worker NOT IN (SELECT worker FROM {p}workers WHERE expires > {m})"""
_LOST = "SELECT token, held FROM {p}reservations WHERE lapsed = 0 AND worker = {m} AND token NOT IN {names}"
_PUT = """INSERT INTO {p}values (key, value, expires, value_group, written, size) VALUES ({m}, {m}, {m}, {m}, {m}, {m}) ON CONFLICT (key) DO UPDATE
    SET value = excluded.value, expires = excluded.expires, value_group = excluded.value_group, written = excluded.written, size = excluded.size"""
_COUNT = """INSERT INTO {p}counters (name, charged, held, expires) VALUES ({m}, {m}, {m}, {m}) ON CONFLICT (name) DO UPDATE
    SET charged = excluded.charged, held = excluded.held, expires = excluded.expires"""
_LEASE = "INSERT INTO {p}workers (worker, expires) VALUES ({m}, {m}) ON CONFLICT (worker) DO UPDATE SET expires = excluded.expires"


class SqlBackend(Backend):
    """Keeps shared state in tables. Each batch of operations is one transaction, and those with reservations run one after the other.

    Args:
        prefix: The prefix of the tables.
        mark: How a statement marks a parameter.
        names: An expression for the elements of a JSON array.
        lease_s: Time after which the reservations of a process that no longer renews its lease are given back, in seconds.
    """

    _skew_s = 0.0
    """Time in seconds by which the clocks of workers, which name the counters' windows and their ends, may be behind that of the tables."""

    def __init__(self, prefix: str, mark: str, names: str, lease_s: float = LEASE_S) -> None:
        self._parts = {"p": prefix, "m": mark, "names": names}
        self._lease_s = lease_s
        self._worker = os.urandom(8).hex()
        self._renewed = -math.inf
        self._unsummed: dict[str, float] = {}  # bytes written since a group was summed up

    @abc.abstractmethod
    def _transaction(self, *, exclusive: bool) -> Any:
        """Return a context manager that commits its block, and yields the present time; no other exclusive transaction runs meanwhile."""

    @abc.abstractmethod
    def _query(self, statement: str, parameters: Sequence[Any] = ()) -> Sequence[tuple[Any, ...]]:
        """Run a statement and return its rows."""

    @abc.abstractmethod
    def _execute_many(self, statement: str, parameters: Sequence[Sequence[Any]]) -> None:
        """Run a statement for each sequence of parameters."""

    def apply(self, operations: Sequence[Operation]) -> Sequence[Any]:
        """Apply operations in order and return their results."""
        counting = [operation for operation in operations if isinstance(operation, Reserve | Settle | Read)]
        changing = any(not isinstance(operation, Get | Read | Scan) for operation in operations)
        with self._transaction(exclusive=changing) as now:
            if any(isinstance(operation, Reserve) for operation in counting) and now > self._renewed + self._lease_s / RENEWALS:
                self._lease(now)
            accounts = self._accounts(counting)
            results = [
                self._count(accounts, operation, now) if isinstance(operation, Reserve | Settle | Read) else self._keep(operation, now)
                for operation in operations
            ]
            self._save(accounts)
        return results

    def renew(self, open_tokens: Collection[str]) -> None:
        """Renew the lease, release the reservations of dead processes and those that are not open, and remove expired entries."""
        with self._transaction(exclusive=True) as now:
            self._lease(now)
            accounts = Accounts({}, {})
            self._give_back(accounts, now, self._run(_LOST, (self._worker, _json(sorted(open_tokens)))))
            self._save(accounts)
            self._delete_values("expires <= {m}", (now,))
            self._run("DELETE FROM {p}counters WHERE expires <= {m} AND held < 1e-9", (now - self._skew_s,))
            self._run("DELETE FROM {p}reservations WHERE lapsed > 0 AND lapsed <= {m}", (now - LAPSED_S,))
            self._run("DELETE FROM {p}workers WHERE expires <= {m}", (now - LAPSED_S,))

    def _run(self, statement: str, parameters: Sequence[Any] = ()) -> Sequence[tuple[Any, ...]]:
        return self._query(self._text(statement), parameters)

    def _delete_values(self, condition: str, parameters: Sequence[Any]) -> None:
        self._run("DELETE FROM {p}values WHERE " + condition, parameters)  # noqa: S608  # constants

    def _text(self, statement: str) -> str:
        return statement.format(**self._parts)

    def _lease(self, now: float) -> None:
        self._run(_LEASE, (self._worker, now + self._lease_s))
        self._renewed = now

    def _accounts(self, counting: Sequence[Reserve | Settle | Read]) -> Accounts:
        """Return the counters and reservations that operations name."""
        names: set[str] = set()
        for operation in counting:
            if isinstance(operation, Read):
                names.update(operation.counters)
            else:
                names.update(name for claim in operation.claims for name in (claim.counter, claim.before) if name)
        tokens = [operation.token for operation in counting if isinstance(operation, Settle)]
        found = self._run("SELECT token, held FROM {p}reservations WHERE token IN {names}", (_json(tokens),)) if tokens else ()
        return Accounts(self._counters(names), {token: orjson.loads(held) for token, held in found})

    def _counters(self, names: Collection[str]) -> dict[str, Counter]:
        if not names:
            return {}
        rows = self._run("SELECT name, charged, held, expires FROM {p}counters WHERE name IN {names}", (_json(sorted(names)),))
        return {name: Counter(charged, held, expires) for name, charged, held, expires in rows}

    def _count(self, accounts: Accounts, operation: Reserve | Settle | Read, now: float) -> Any:
        if isinstance(operation, Read):
            return [accounts.used(name, held=operation.held) for name in operation.counters]
        if isinstance(operation, Settle):
            return accounts.settle(operation)
        found = accounts.reserve(operation)
        if isinstance(found, Exceeded) and not accounts.complete and self._give_back(accounts, now):
            found = accounts.reserve(operation)
        return found

    def _give_back(self, accounts: Accounts, now: float, lost: Sequence[tuple[Any, ...]] = ()) -> bool:
        """Release the reservations of dead processes, and lost ones; return whether there was one."""
        accounts.complete = True
        dead: dict[str, Held] = {token: orjson.loads(held) for token, held in (*self._run(_DEAD, (now,)), *lost) if token not in accounts.ended}
        if not dead:
            return False
        accounts.add(self._counters({name for held in dead.values() for name, _ in held}))
        for held in dead.values():
            accounts.give_back(held)
        empty = [(_json([(name, 0.0) for name, _ in held]), now, token) for token, held in dead.items()]
        self._execute_many(self._text("UPDATE {p}reservations SET held = {m}, lapsed = {m} WHERE token = {m}"), empty)
        return True

    def _save(self, accounts: Accounts) -> None:
        changed = [(name, counter.charged, counter.held, min(counter.expires, NEVER)) for name, counter in sorted(accounts.changed.items())]
        if changed:
            self._execute_many(self._text(_COUNT), changed)
        if accounts.begun:
            begun = [(token, self._worker, _json(held), 0.0) for token, held in accounts.begun.items()]
            self._execute_many(self._text("INSERT INTO {p}reservations (token, worker, held, lapsed) VALUES ({m}, {m}, {m}, {m})"), begun)
        if accounts.ended:
            self._run("DELETE FROM {p}reservations WHERE token IN {names}", (_json(sorted(accounts.ended)),))

    def _keep(self, operation: Get | Put | PutIf | Delete | Scan, now: float) -> Any:
        if isinstance(operation, Get):
            rows = self._run("SELECT value FROM {p}values WHERE key = {m} AND expires > {m}", (operation.key, now))
            return bytes(rows[0][0]) if rows else None
        if isinstance(operation, Scan):
            rows = self._run("SELECT key, value FROM {p}values WHERE value_group = {m} AND expires > {m}", (operation.group, now))
            return {key: bytes(value) for key, value in rows}
        if isinstance(operation, Delete):
            return self._delete_values("key = {m}", (operation.key,))
        if isinstance(operation, PutIf):
            if self._keep(Get(operation.key), now) != operation.expected:
                return False
            for put in operation.puts:
                self._keep(put, now)
            return True
        size = len(operation.value)
        if operation.max_bytes and size > operation.max_bytes:
            return None
        self._run(_PUT, (operation.key, operation.value, min(now + operation.ttl_s, NEVER), operation.group, now, size))
        if operation.max_bytes:
            unsummed = self._unsummed.get(operation.group, math.inf) + size
            if unsummed >= _SUMMED * operation.max_bytes:
                self._shrink(operation.group, operation.max_bytes)
                unsummed = 0.0
            self._unsummed[operation.group] = unsummed
        return None

    def _shrink(self, group: str, max_bytes: int) -> None:
        """Remove a group's oldest values if it is too large."""
        (total,) = self._run("SELECT coalesce(sum(size), 0) FROM {p}values WHERE value_group = {m}", (group,))[0]
        if total <= max_bytes:
            return
        gone = list(_oldest(self._run("SELECT key, size FROM {p}values WHERE value_group = {m} ORDER BY written", (group,)), total, max_bytes))
        self._delete_values("key IN {names}", (_json(gone),))


def _oldest(rows: Sequence[tuple[Any, ...]], total: int, max_bytes: int) -> Iterator[str]:
    """Yield the keys of the oldest values; the newest one stays."""
    for key, size in rows[:-1]:
        if total <= KEPT_FREE * max_bytes:
            return
        total -= size
        yield key


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
