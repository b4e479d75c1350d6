"""The runs of benchmarks: their settings, and a job that makes a run in its folder as ``aamc run`` does."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
from aamc_experiments.commands import settings_from_options
from aamc_experiments.experiment import Experiment
from aamc_experiments.settings import Settings, read_settings
from aamc_experiments.setup import ExperimentSetup

from aamc_bench.failed_routers import TolerantExperiment
from aamc_sdk.cli import split_names
from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import NoProgress, Progress
from aamc_sdk.plugins import get_plugin_manager

ESTIMATOR = "tce"
"""The default estimator."""


def settings_of(routers: Sequence[str], assignments: Sequence[str] = (), instead: Mapping[str, str] | None = None, **given: Any) -> Settings:
    """Return a run's settings from the command line's options; the first router is the run's own.

    Args:
        routers: The routers' names.
        assignments: The values of ``--set``, such as ``"routers.ppo.learning_rate=1e-4"``.
        instead: Settings that ``--set`` must not change, and the options to use instead.
        given: Other options of ``aamc run``, None if not given.

    Raises:
        UnknownComponentError: No plugin offers a router or estimator of that name.
        ConfigError: An assignment is for ``router``, though there are several, or for a setting in ``instead``.
    """
    for assignment in assignments:
        _check(assignment, {"router": "--routers", "routers": "--routers", **(instead or {})}, routers[0])
    named = {"estimator": ESTIMATOR} | {key: value for key, value in given.items() if value is not None}
    settings = settings_from_options({"assignments": tuple(assignments), "routers": ",".join(routers), **named})
    assert settings.routers is not None  # named above
    plugins = get_plugin_manager()
    for name in routers:
        plugins.find("router", name)
    if settings.estimator is not None:
        plugins.find("estimator", settings.estimator.name)
    return attrs.evolve(settings, router=settings.routers[routers[0]]).with_absolute_paths(plugins.names("model_pool"))


def _check(assignment: str, instead: Mapping[str, str], router: str) -> None:
    """Raise if an assignment would have no effect."""
    key = assignment.partition("=")[0].strip()
    if key.startswith("router."):
        raise ConfigError(f"--set {assignment}: there are several routers; name one, as in routers.{router}.{assignment[7:]}")
    if key in instead:
        raise ConfigError(f"--set {assignment} would have no effect; use {instead[key]}")


def try_to_begin(settings: Mapping[str, Any]) -> ExperimentSetup:
    """Begin a run in a temporary folder and return its world, so that an error of all jobs comes once, before the first.

    Raises:
        AamcError: The data cannot be read, or an option of a component is wrong.
    """
    with TemporaryDirectory() as folder:
        return Experiment(read_settings(settings), get_plugin_manager(), Path(folder), NoProgress()).begin()


def chosen_routers(named: str | None, default: Sequence[str]) -> list[str]:
    """Return the routers of ``--routers``, or those of the default that some plugin offers."""
    if named is not None:
        return split_names(named)
    offered = set(get_plugin_manager().names("router"))
    return [name for name in default if name in offered]


def complete_run(folder: Path, progress: Progress, settings: Mapping[str, Any], kind: type[Experiment] = Experiment) -> dict[str, Any]:
    """Make a run with the settings, or resume the one that the folder holds; return the metrics."""
    plugins = get_plugin_manager()
    if (folder / "run.yaml").exists():
        return kind.resume(folder, plugins, progress).complete()
    shutil.rmtree(folder, ignore_errors=True)  # left by an attempt that was stopped before its first file was complete
    return kind(read_settings(settings), plugins, folder, progress).complete()


def complete_tolerantly(folder: Path, progress: Progress, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Do the same as :func:`complete_run`, without routers whose training fails."""
    return complete_run(folder, progress, settings, TolerantExperiment)
