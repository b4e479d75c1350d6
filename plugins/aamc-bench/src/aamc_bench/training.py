"""The job that most experiments begin with: a run, as ``aamc run`` makes it, in a job's folder."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
from aamc_experiments.commands import gather
from aamc_experiments.experiment import Experiment
from aamc_experiments.settings import Settings, read_settings
from aamc_experiments.setup import World

from aamc_bench.tolerant import Tolerant
from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import Progress, Silence
from aamc_sdk.plugins import Plugins, get_plugin_manager

ESTIMATOR = "tce"
"""The estimator where none is named."""


def settings_of(routers: Sequence[str], assignments: Sequence[str] = (), instead: Mapping[str, str] | None = None, **given: Any) -> Settings:
    """Return a run's settings from the command line's options; the first router is the one in question.

    Args:
        routers: Names.
        assignments: ``--set``'s, such as ``"routers.ppo.learning_rate=1e-4"``.
        instead: Settings that the experiment decides on itself, and the option that it does so by.
        given: Other options of ``aamc run``; None where one was not given.

    Raises:
        UnknownComponentError: No plugin offers a router or estimator of that name.
        ConfigError: An assignment is for "the" router, of which there are several, or for what another option decides.
    """
    for assignment in assignments:
        _check(assignment, {"router": "--routers", "routers": "--routers", **(instead or {})}, routers[0])
    named = {"estimator": ESTIMATOR} | {key: value for key, value in given.items() if value is not None}
    settings = gather((), tuple(assignments), ",".join(routers), **named)
    assert settings.routers is not None  # named above
    plugins = get_plugin_manager()
    for name in routers:
        plugins.find("router", name)
    if settings.estimator is not None:
        plugins.find("estimator", settings.estimator.name)
    return attrs.evolve(settings, router=settings.routers[routers[0]])


def _check(assignment: str, instead: Mapping[str, str], router: str) -> None:
    """Refuse an assignment that would change nothing."""
    key = assignment.partition("=")[0].strip()
    if key.startswith("router."):
        raise ConfigError(f"--set {assignment}: there are several routers; say which, as in routers.{router}.{assignment[7:]}")
    if key in instead:
        raise ConfigError(f"--set {assignment} would change nothing here; use {instead[key]}")


def try_to_begin(settings: Mapping[str, Any]) -> World:
    """Begin a run in a folder that is soon gone, and return its world: what is wrong with all jobs is said once, before the first.

    Raises:
        AamcError: The data cannot be read, or a part cannot have its options.
    """
    with TemporaryDirectory() as folder:
        return Experiment(read_settings(settings), get_plugin_manager(), Path(folder), Silence()).begin()


def installed(names: Sequence[str], plugins: Plugins) -> list[str]:
    """Return those of the names that some plugin offers as a router."""
    offered = set(plugins.names("router"))
    return [name for name in names if name in offered]


def complete_run(folder: Path, progress: Progress, settings: Mapping[str, Any], kind: type[Experiment] = Experiment) -> dict[str, Any]:
    """Train and compare as the settings say, going on with what the folder holds; return the metrics."""
    plugins = get_plugin_manager()
    if (folder / "run.yaml").exists():
        return kind.resume(folder, plugins, progress).complete()
    shutil.rmtree(folder, ignore_errors=True)  # stopped before its first file was whole
    return kind(read_settings(settings), plugins, folder, progress).complete()


def complete_tolerantly(folder: Path, progress: Progress, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Do the same, without routers whose training fails."""
    return complete_run(folder, progress, settings, Tolerant)
