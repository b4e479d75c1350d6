"""The job that most experiments begin with: a run, as ``aamc run`` makes it, in a job's folder."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from aamc_sdk.cli.options import gather
from aamc_sdk.errors import ConfigError
from aamc_sdk.experiment import Experiment
from aamc_sdk.interfaces import Progress
from aamc_sdk.plugins import Plugins, get_plugin_manager
from aamc_sdk.settings import Settings, read_settings

ESTIMATOR, NO_ESTIMATOR = "tce", "none"
"""The estimator where none is named, and how to name none."""


def settings_of(routers: Sequence[str], assignments: Sequence[str] = (), **given: Any) -> Settings:
    """Return a run's settings from the command line's options; the first router is the one in question.

    Args:
        routers: Names.
        assignments: ``--set``'s, such as ``"routers.ppo.learning_rate=1e-4"``.
        given: Other options of ``aamc run``; None where one was not given.

    Raises:
        UnknownComponentError: No plugin offers a router or estimator of that name.
        ConfigError: An assignment is for "the" router, of which there are several.
    """
    for assignment in assignments:
        if assignment.startswith("router."):
            raise ConfigError(f"--set {assignment}: there are several routers; say which, as in routers.{routers[0]}.{assignment[7:]}")
    named = {"estimator": ESTIMATOR} | {key: value for key, value in given.items() if value}
    if named["estimator"] == NO_ESTIMATOR:
        del named["estimator"]
    settings = gather((), tuple(assignments), ",".join(routers), **named)
    assert settings.routers is not None  # named above
    plugins = get_plugin_manager()
    for name in routers:
        plugins.find("router", name)
    if settings.estimator is not None:
        plugins.find("estimator", settings.estimator.name)
    return attrs.evolve(settings, router=settings.routers[routers[0]])


def installed(names: Sequence[str], plugins: Plugins) -> list[str]:
    """Return those of the names that some plugin offers as a router."""
    offered = set(plugins.names("router"))
    return [name for name in names if name in offered]


def complete_run(folder: Path, progress: Progress, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Train and compare as the settings say, going on with what the folder holds; return the metrics."""
    plugins = get_plugin_manager()
    if (folder / "run.yaml").exists():
        return Experiment.resume(folder, plugins, progress).complete()
    shutil.rmtree(folder, ignore_errors=True)  # stopped before its first file was whole
    return Experiment(read_settings(settings), plugins, folder, progress).complete()
