"""A pool of three candidates, and what a bandit learns from."""

from __future__ import annotations

import pytest

from aamc_sdk.types import Latency, ModelSpec, Pool, Prices


@pytest.fixture
def pool() -> Pool:
    """Return three candidates at 1, 2 and 10 USD per million tokens."""
    prices = {"small": 1.0, "middle": 2.0, "large": 10.0}
    return Pool(ModelSpec(name, prices=Prices(price, price), latency=Latency(service_ms=100.0)) for name, price in prices.items())
