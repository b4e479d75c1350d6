"""Logs whose shared state is tested: a file, and servers of the tests' own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from service_processes import postgres_server, redis_server

from aamc_sdk.interfaces import Store
from aamc_sdk.log import open_store
from aamc_sdk.plugins import get_plugin_manager

__all__ = ["postgres_server", "redis_server"]


@pytest.fixture
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a new log; the parameter names its kind."""
    kind = getattr(request, "param", "sqlite")
    if kind == "memory":
        return "memory:"
    if kind == "sqlite":
        return f"sqlite:{tmp_path / 'log.db'}"
    server = request.getfixturevalue(f"{kind}_server")
    return f"{server.url}?prefix=t{uuid.uuid4().hex[:16]}&spool={tmp_path / 'spool.db'}&timeout_s=20"


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """A new log."""
    opened = open_store(store_url, get_plugin_manager())
    yield opened
    opened.close()
