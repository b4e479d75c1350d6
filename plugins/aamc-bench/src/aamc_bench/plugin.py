"""What this package offers; importing it loads no experiment."""

from __future__ import annotations

from aamc_sdk import Component, hookimpl


@hookimpl
def aamc_commands() -> list[Component]:
    """Offer the experiments."""
    return [
        Component("bench compare", "aamc_bench.commands:compare", "Compare routers on several datasets and seeds, in one table."),
        Component("bench scalability", "aamc_bench.commands:scalability", "Measure decision time and quality against the number of candidates."),
    ]
