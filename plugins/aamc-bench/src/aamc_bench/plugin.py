"""The commands of this plugin; importing the module loads no benchmark."""

from __future__ import annotations

from aamc_sdk import Component, hookimpl


@hookimpl
def aamc_commands() -> list[Component]:
    """Offer the benchmarks."""
    return [
        Component("bench bandit", "aamc_bench.commands:bandit", "Measure the cost of learning online, in several scenarios."),
        Component("bench compare", "aamc_bench.commands:compare", "Compare routers on several datasets and seeds, in one table."),
        Component("bench control", "aamc_bench.commands:control", "Measure the gain from planning ahead under load, limits and budgets."),
        Component("bench robustness", "aamc_bench.commands:robustness", "Measure routers under noise and on categories without training data."),
        Component("bench scalability", "aamc_bench.commands:scalability", "Measure decision time and utility against the number of candidates."),
        Component("bench speed", "aamc_bench.commands:speed", "Compare the speed of all parts with other programs (needs a checkout)."),
        Component("bench unseen-models", "aamc_bench.commands:unseen_models", "Measure routing with candidates that have no training outcomes."),
        Component("reproduce fig5", "aamc_bench.commands:fig5", "Make Figure 5 of the AAMC paper: success, cost, latency and efficiency."),
    ]
