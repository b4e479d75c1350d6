"""Fixtures of several packages of tests."""

from __future__ import annotations

import time

import pytest
from log_clock import Clock

from aamc_sdk.log.retention import partitioned_store


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Set the time that logs see: ``clock.now += DAY``."""
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    monkeypatch.setattr(partitioned_store, "clock_offset", lambda: 0.0)
    return clock
