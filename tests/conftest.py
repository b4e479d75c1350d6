"""Fixtures of several packages of tests."""

from __future__ import annotations

import time

import pytest
from log_clock import Clock

from aamc_sdk.log.retention.expiry import ClockReading


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Set the time that logs see: ``clock.now += DAY``."""
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    monkeypatch.setattr(ClockReading, "now", clock.reading)
    return clock
