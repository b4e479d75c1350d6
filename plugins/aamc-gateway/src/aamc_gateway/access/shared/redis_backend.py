"""Shared state on a Redis server."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from aamc_stores.redis_log import is_absence
from redis.exceptions import NoScriptError, RedisError

from aamc_gateway.access.shared.operations import LEASE_S, Backend, Delete, Exceeded, Get, Operation, Put, PutIf, Read, Reserve, Scan, Settle
from aamc_gateway.access.shared.redis_scripts import PUT, PUT_IF, READ, RENEW, RESERVE, SCAN, SETTLE
from aamc_sdk.errors import StoreAwayError, StoreError

_DIGESTS = {script: hashlib.sha1(script.encode()).hexdigest() for script in (PUT, PUT_IF, READ, RENEW, RESERVE, SCAN, SETTLE)}  # noqa: S324  # Redis names scripts so


class RedisBackend(Backend):
    """Keeps shared state in keys. Each operation is atomic, and a batch of operations takes one round trip.

    ``name`` is the URL without its password, for messages; see :func:`aamc_gateway.access.shared.open_shared` for the rest.

    Raises:
        StoreError: The server cannot be reached, or refuses.
    """

    def __init__(self, url: str, name: str, prefix: str, timeout_s: float, lease_s: float = LEASE_S) -> None:
        self._name, self._prefix, self._lease_s = name, f"{prefix}:shared:", lease_s
        self._client = redis.Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
        self._client.connection_pool.connection_kwargs["decode_responses"] = False  # values are bytes, whatever the URL says
        self._worker = os.urandom(8).hex()
        with self._reached():
            self._load_scripts()
        self.renew(())

    def apply(self, operations: Sequence[Operation]) -> Sequence[Any]:
        """Apply operations in order and return their results."""
        with self._reached():
            pipeline = self._client.pipeline(transaction=False)
            for operation in operations:
                self._send(pipeline, operation)
            replies = pipeline.execute(raise_on_error=False)
            if any(isinstance(reply, NoScriptError) for reply in replies):  # the server was started again
                self._load_scripts()
            for index, reply in enumerate(replies):
                if isinstance(reply, NoScriptError):
                    replies[index] = self._send(self._client, operations[index], whole=True)
                elif isinstance(reply, Exception):
                    raise reply
        return [_result(operation, reply) for operation, reply in zip(operations, replies, strict=True)]

    def renew(self, open_tokens: Collection[str]) -> None:
        """Renew the lease, and release the reservations of dead processes and those that are not open; Redis itself removes expired entries."""
        with self._reached():
            self._client.eval(RENEW, 0, self._prefix, self._worker, self._lease_s, json.dumps(list(open_tokens)))

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except (RedisError, OSError) as error:
            if not is_absence(error):
                raise StoreError(f"the shared state {self._name} cannot be used: {error}") from error
            self._client.connection_pool.disconnect()  # after a failover, another server may answer at the same address
            raise StoreAwayError(f"the shared state {self._name} is away: {error}") from error

    def _load_scripts(self) -> None:
        """Load all scripts at once: in a batch, an operation without its script would be applied after those that have theirs."""
        for script in _DIGESTS:
            self._client.script_load(script)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _send(self, client: redis.Redis, operation: Operation, *, whole: bool = False) -> Any:
        """Send an operation, by its script's digest or with the ``whole`` script; return its reply, or nothing yet if the client is a pipeline."""

        def run(script: str, *arguments: Any) -> Any:
            if whole:
                return client.eval(script, 0, self._prefix, *arguments)
            return client.evalsha(_DIGESTS[script], 0, self._prefix, *arguments)

        match operation:
            case Get():
                return client.get(f"{self._prefix}value:{operation.key}")
            case Delete():
                return client.delete(f"{self._prefix}value:{operation.key}")  # its group forgets it when it is the oldest
            case Put():
                return run(PUT, *_put(operation))
            case PutIf():
                expected = b"" if operation.expected is None else b"=" + operation.expected
                return run(PUT_IF, operation.key, expected, *(argument for put in operation.puts for argument in _put(put)))
            case Scan():
                return run(SCAN, operation.group)
            case Read():
                return run(READ, json.dumps(list(operation.counters)), int(operation.held))
            case Reserve():
                claims = [(c.counter, c.limit, c.amount, c.minimum, _finite(c.expires), c.before, c.weight) for c in operation.claims]
                return run(RESERVE, self._worker, self._lease_s, operation.token, json.dumps(claims), json.dumps(list(operation.steps)))
            case Settle():
                charges = [(charge, _finite(claim.expires)) for claim, charge in zip(operation.claims, operation.charges, strict=True)]
                return run(SETTLE, self._worker, operation.token, json.dumps(charges))


def _put(put: Put) -> tuple[Any, ...]:
    """Return the arguments of a value in ``PUT`` and ``PUT_IF``."""
    return put.key, put.value, "" if put.ttl_s == math.inf else math.ceil(1000 * put.ttl_s), put.group, put.max_bytes


def _finite(expires: float) -> float:
    return 0 if expires == math.inf else expires


def _result(operation: Operation, reply: Any) -> Any:
    match operation:
        case Get():
            return reply
        case PutIf():
            return bool(reply)
        case Scan():
            return {key.decode(): value for key, value in zip(reply[::2], reply[1::2], strict=True)}
        case Read():
            return [float(value) for value in reply]
        case Reserve():
            index, amount = int(reply[0]), float(reply[1])
            return Exceeded(index - 1, amount, *map(float, reply[2:])) if index else amount if amount >= 0 else math.inf
    return None
