"""Logs on servers of the tests' own."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from service_processes import Server, postgres_server, redis_server, server

from aamc_sdk.interfaces import Store
from aamc_sdk.log import open_store
from aamc_sdk.plugins import get_plugin_manager

__all__ = ["postgres_server", "redis_server", "server"]


@pytest.fixture
def prefix() -> str:
    """The prefix of a log that no other test has."""
    return f"t{uuid.uuid4().hex[:16]}"


@pytest.fixture
def log(server: Server, prefix: str, tmp_path: Path) -> Iterator[Callable[..., Store]]:
    """Open an empty log, several times if need be; what was opened is closed and deleted."""
    opened: list[Store] = []

    def open_it(**options: Any) -> Store:
        spool = tmp_path / ("spool.db" if options.get("prefix", prefix) == prefix else f"{options['prefix']}.db")
        given = {"prefix": prefix, "spool": str(spool), "retry_s": 0.1, "timeout_s": 20.0, **options}
        opened.append(open_store(server.url, get_plugin_manager(), given))
        return opened[-1]

    yield open_it
    server.start()
    for store in opened:
        store.close()
    if opened:
        last = open_it()
        last.drop()
        last.close()
