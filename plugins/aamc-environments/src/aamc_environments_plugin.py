"""The components of aamc-environments."""

from __future__ import annotations

from aamc_sdk import Component, hookimpl


@hookimpl
def aamc_environments() -> list[Component]:
    """Offer the simulator and the replay of tables."""
    return [
        Component("queue", "aamc_environments.queue:QueueEnvironment", "A simulated pool of models under load, each a queue with one server."),
        Component("replay", "aamc_environments.replay:ReplayEnvironment", "Outcomes come from a dataset's table."),
    ]
