"""What this package offers; importing it loads no experiment."""

from __future__ import annotations

from aamc_sdk import Component, hookimpl


@hookimpl
def aamc_commands() -> list[Component]:
    """Offer the experiments."""
    return [
        Component("bench bandit", "aamc_bench.commands:bandit", "Measure what learning online costs, in the scenarios that operators fear."),
        Component("bench compare", "aamc_bench.commands:compare", "Compare routers on several datasets and seeds, in one table."),
        Component("bench robustness", "aamc_bench.commands:robustness", "Measure routers under noise and on categories they were not trained on."),
        Component("bench scalability", "aamc_bench.commands:scalability", "Measure decision time and quality against the number of candidates."),
        Component("bench speed", "aamc_bench.commands:speed", "Measure how fast everything is, beside other programs in the same run."),
        Component("bench unseen-models", "aamc_bench.commands:unseen_models", "Measure routing with candidates that training knew little of."),
        Component("reproduce fig5", "aamc_bench.reproduce.papers:fig5", "Figure 5 of the AAMC paper: success, cost, latency and efficiency."),
    ]
