"""Operations on a thread: batches, and a backend that is away for a while."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
import threading
from collections.abc import Collection, Sequence
from typing import Any

import pytest
from aamc_gateway.access.shared import Claim, SharedState
from aamc_gateway.access.shared.operations import Backend, Get, Operation, Read, Reserve
from aamc_gateway.access.shared.sqlite_backend import SqliteBackend

from aamc_sdk.errors import StoreAwayError, StoreError

CLAIMS = [Claim("c", 1.0, 0.4, 0.4, math.inf)]


class Wrapped(Backend):
    """A backend that can be away, and can be made to wait."""

    def __init__(self) -> None:
        self.inner = SqliteBackend(None)
        self.batches: list[int] = []
        self.is_away = self.loses_answers = False
        self.refused = ""
        self.began, self.go, self.asked, self.answers = (threading.Event() for _ in range(4))
        self.go.set()
        self.answers.set()

    def apply(self, operations: Sequence[Operation]) -> Sequence[Any]:
        self.began.set()
        self.go.wait(60)
        self.batches.append(len(operations))
        if self.is_away:
            raise StoreAwayError("the server is away")
        if any(isinstance(operation, Get) and operation.key == self.refused for operation in operations):
            raise ValueError("this key cannot be read")
        found = self.inner.apply(operations)
        if self.loses_answers:
            raise StoreAwayError("the connection was lost before the answer")
        return found

    def renew(self, open_tokens: Collection[str]) -> None:
        self.asked.set()
        self.answers.wait(60)
        if self.is_away:
            raise StoreAwayError("the server is away")
        self.inner.renew(open_tokens)

    def close(self) -> None: ...


def run(test: Any, lease_s: float = 0.3) -> None:  # what is owed is tried again every 0.05 s
    async def whole() -> None:
        backend = Wrapped()
        shared = SharedState(backend, lease_s)
        try:
            await test(shared, backend)
        finally:
            backend.go.set()
            backend.answers.set()
            await shared.close()
            backend.inner.close()

    asyncio.run(whole())


async def used(shared: SharedState, wanted: float) -> None:
    """Wait until the counter has a value; while the backend counts as away, that cannot be read."""
    while True:
        try:
            if (await shared.read(["c"]))[0] == pytest.approx(wanted):
                return
        except StoreAwayError:
            pass
        await asyncio.sleep(0.02)


def test_what_comes_while_the_backend_works_is_one_batch() -> None:
    async def test(shared: SharedState, backend: Wrapped) -> None:
        backend.go.clear()
        first = asyncio.ensure_future(shared.get("a"))
        await asyncio.to_thread(backend.began.wait, 60)
        others = [asyncio.ensure_future(shared.get("b")) for _ in range(20)]
        await asyncio.sleep(0)
        backend.go.set()
        await asyncio.gather(first, *others)
        assert backend.batches == [1, 20]

    run(test)


def test_a_settlement_is_applied_though_no_other_operation_comes() -> None:
    async def test(shared: SharedState, backend: Wrapped) -> None:
        token, _ = await shared.reserve(CLAIMS)
        shared.settle(token, CLAIMS, [0.1])
        while backend.batches != [1, 1]:
            await asyncio.sleep(0.02)

    run(lambda *given: asyncio.wait_for(test(*given), 30), lease_s=3600.0)


def test_the_lease_is_renewed_before_it_ends_though_no_operation_comes() -> None:
    async def test(shared: SharedState, backend: Wrapped) -> None:
        assert await asyncio.to_thread(backend.asked.wait, 6)

    run(test, lease_s=6.0)


def test_a_settlement_that_fails_is_applied_when_the_backend_is_back() -> None:
    async def test(shared: SharedState, backend: Wrapped) -> None:
        token, found = await shared.reserve(CLAIMS)
        assert found == math.inf
        backend.is_away = True
        shared.settle(token, CLAIMS, [0.1])
        with pytest.raises(StoreAwayError, match="the server is away"):
            await shared.read(["c"])
        backend.is_away = False
        await asyncio.wait_for(used(shared, 0.1), 30)
        assert backend.batches[-1] == 1  # it is owed no more

    run(test)


def test_a_reservation_whose_answer_was_lost_is_given_back() -> None:
    async def test(shared: SharedState, backend: Wrapped) -> None:
        backend.loses_answers = True
        with pytest.raises(StoreAwayError, match="lost before the answer"):
            await shared.reserve(CLAIMS)
        assert backend.inner.apply([_read()]) == [[0.4]]
        backend.loses_answers = False
        await asyncio.wait_for(used(shared, 0.0), 30)

    run(test)


def test_a_reservation_whose_settlement_a_failover_lost_is_given_back() -> None:
    async def test(shared: SharedState, backend: Wrapped) -> None:
        running, _ = await shared.reserve(CLAIMS)
        ended, _ = await shared.reserve(CLAIMS)
        shared.settle(ended, CLAIMS, [0.1])
        await asyncio.wait_for(used(shared, 0.5), 30)
        backend.is_away = True
        with pytest.raises(StoreAwayError):
            await shared.get("a")
        backend.inner.apply([Reserve(ended, CLAIMS)])  # the server that takes over has not seen the settlement
        backend.is_away = False
        await asyncio.wait_for(used(shared, 0.5), 30)
        shared.settle(running, CLAIMS, [0.2])
        await asyncio.wait_for(used(shared, 0.3), 30)

    run(test)


def test_a_settlement_whose_answer_was_lost_is_charged_once() -> None:
    async def test(shared: SharedState, backend: Wrapped) -> None:
        token, _ = await shared.reserve(CLAIMS)
        backend.loses_answers = True
        shared.settle(token, CLAIMS, [0.1])
        with pytest.raises(StoreAwayError):
            await shared.read(["c"])
        backend.loses_answers = False
        await asyncio.wait_for(used(shared, 0.1), 30)

    run(test)


def test_an_operation_that_fails_does_not_fail_the_others_of_its_batch() -> None:
    async def test(shared: SharedState, backend: Wrapped) -> None:
        token, _ = await shared.reserve(CLAIMS)
        backend.refused = "bad"
        backend.began.clear()
        backend.go.clear()
        waiting = asyncio.ensure_future(shared.get("a"))
        await asyncio.to_thread(backend.began.wait, 60)
        shared.settle(token, CLAIMS, [0.1])
        others = [asyncio.ensure_future(shared.get(key)) for key in ("bad", "good")]
        await asyncio.sleep(0)
        backend.go.set()
        bad, good = await asyncio.gather(*others, return_exceptions=True)
        assert isinstance(bad, ValueError)
        assert good is None
        await waiting
        assert await shared.read(["c"]) == pytest.approx([0.1])

    run(test)


def test_while_the_backend_is_away_operations_fail_at_once() -> None:
    async def test(shared: SharedState, backend: Wrapped) -> None:
        backend.is_away = True
        for _ in range(50):
            with pytest.raises(StoreAwayError):
                await shared.get("a")
        assert len(backend.batches) <= 5  # one try a second

    run(test)


def test_a_backend_that_hangs_delays_only_the_operations_of_one_moment() -> None:
    async def test(shared: SharedState, backend: Wrapped) -> None:
        backend.is_away = True
        with pytest.raises(StoreAwayError):
            await shared.get("a")
        backend.answers.clear()  # from now on it does not even refuse
        backend.asked.clear()
        await asyncio.to_thread(backend.asked.wait, 60)
        for _ in range(50):
            with pytest.raises(StoreAwayError, match="the server is away"):
                await asyncio.wait_for(shared.get("a"), 60)
        backend.is_away = False
        backend.answers.set()
        await asyncio.wait_for(used(shared, 0.0), 30)

    run(test)


def test_closing_applies_what_was_submitted_and_refuses_the_rest() -> None:
    async def test(shared: SharedState, backend: Wrapped) -> None:
        token, _ = await shared.reserve(CLAIMS)
        shared.settle(token, CLAIMS, [0.1])
        await shared.close()
        assert backend.inner.apply([_read()]) == [[0.1]]
        with pytest.raises(StoreError, match="closed"):
            await shared.get("a")

    run(test)


def test_no_client_of_a_server_is_imported_without_need() -> None:
    code = """
import sys
from aamc_gateway.access.access import Access
from aamc_gateway.access.settings import AccessSettings
from aamc_gateway.access.shared import open_shared
from aamc_sdk.log import open_store
from aamc_sdk.plugins import get_plugin_manager
open_shared(open_store("memory:", get_plugin_manager()))
assert not {"redis", "psycopg", "prometheus_client", "opentelemetry"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def _read() -> Operation:
    return Read(["c"])
