"""Acme's model pool."""

from __future__ import annotations

from aamc_sdk import Latency, ModelSpec, Pool, Prices


def two_tier() -> Pool:
    """Return a small and a large model."""
    small = ModelSpec(
        "Acme-Small",
        "A small model for short and easy questions.",
        prices=Prices(input=0.1, output=0.4),
        latency=Latency(network_ms=30, service_ms=300),
    )
    large = ModelSpec(
        "Acme-Large",
        "A large model for long and hard questions, with tools.",
        abilities={"tools"},
        prices=Prices(input=3.0, output=12.0),
        latency=Latency(network_ms=60, service_ms=2000),
        context_window=200_000,
    )
    return Pool([small, large])
