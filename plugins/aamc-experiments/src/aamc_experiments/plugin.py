"""The commands of this plugin."""

from __future__ import annotations

from aamc_sdk import Component, hookimpl


@hookimpl
def aamc_commands() -> list[Component]:
    """Announce the commands that train and compare."""
    return [
        Component("run", "aamc_experiments.commands.run:run", "Train a router and an estimator, compare with every baseline, and report."),
        Component("train", "aamc_experiments.commands.train:train", "Train a router, an estimator or an orchestrator."),
        Component("evaluate", "aamc_experiments.commands.evaluate:evaluate", "Compare a run's routers on other data, or on a decision log."),
        Component("calibrate", "aamc_experiments.commands.calibrate:calibrate", "Find the preference at which a run's router meets a target."),
    ]
