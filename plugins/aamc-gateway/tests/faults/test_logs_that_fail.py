"""A log that cannot be written: nothing is served that is not in it, and nothing is paid that cannot be served."""

from __future__ import annotations

import resource
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from aamc_gateway.testing import GatewayProcess
from aamc_models.testing import StubServer
from faults.conftest import PATIENT, ask_all, chat

from aamc_sdk.log import open_store
from aamc_sdk.plugins import get_plugin_manager


def limit_files(gateway: GatewayProcess, size: int) -> None:
    """Let no file of a process grow beyond a size: the kernel refuses the write, as on a full disk."""
    process = gateway.process.pid
    resource.prlimit(process, resource.RLIMIT_FSIZE, (size, resource.prlimit(process, resource.RLIMIT_FSIZE)[1]))


def ask(gateway: GatewayProcess, **fields: Any) -> int:
    return ask_all(gateway.url, [chat(**fields)])[0][0]


def pending(gateway: GatewayProcess) -> float:
    gateway.stop()
    with closing(open_store(f"sqlite:{gateway.folder / 'state.db'}", get_plugin_manager())) as store:
        return store.health()["pending_attempts"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_full_disk_is_a_503_that_pays_no_candidate_and_leaves_nothing_behind(serve: Any, stub: StubServer, stream: bool) -> None:
    gateway = serve({"good": PATIENT})
    assert (ask(gateway, stream=stream), gateway.ready()) == (200, True)
    limit_files(gateway, 0)
    assert ask(gateway, stream=stream) == 503  # the disk was found to be full while the candidate answered
    calls = stub.counts("good").calls
    assert calls == 2
    assert [ask(gateway, stream=stream) for _ in range(3)] == [503] * 3
    assert (stub.counts("good").calls, gateway.ready()) == (calls, False)
    limit_files(gateway, resource.RLIM_INFINITY)
    assert (ask(gateway, stream=stream), gateway.ready()) == (200, True)
    assert pending(gateway) == 0


def test_while_another_process_locks_the_log_requests_wait_and_the_gateway_is_not_ready(serve: Any, stub: StubServer) -> None:
    gateway = serve({"good": PATIENT})
    with ThreadPoolExecutor(1) as thread, closing(sqlite3.connect(gateway.folder / "state.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        asked = thread.submit(ask, gateway)
        until = time.monotonic() + 25  # less than SQLite waits for a lock
        while gateway.ready() and time.monotonic() < until:
            time.sleep(0.2)
        assert (gateway.ready(), asked.done()) == (False, False)
        other.execute("ROLLBACK")
        assert asked.result() == 200
    assert gateway.ready()
    assert pending(gateway) == 0
