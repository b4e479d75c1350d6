"""The runs of benchmarks: their settings, and a job that makes a run in its folder as ``aamc run`` does.

Routers whose training fails are left out, and the others of their job are measured.
"""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
from aamc_experiments.commands import settings_from_options
from aamc_experiments.settings import Settings, read_settings
from aamc_experiments.setup import ExperimentSetup
from aamc_experiments.training import Experiment

from aamc_bench.grid import JOBS
from aamc_sdk.cli import split_names
from aamc_sdk.errors import AamcError, ConfigError, PluginError
from aamc_sdk.interfaces import NoProgress, Progress, Router
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.storage import read_json, write_json
from aamc_sdk.types import RoutingRequest

LEFT_OUT = "left_out.json"
"""The file in a job's folder with the routers that the job left out, and the reasons."""


class RoutersLeftOut(AamcError):
    """Raised at the end of a benchmark that had to leave routers out, with each job's key, router and reason; the others were measured."""

    def __init__(self, left_out: Iterable[Mapping[str, str]]) -> None:
        first, *others = [f"{one['router']} in {one['job']}: {one['why']}" for one in left_out]
        super().__init__(f"left out, for training failed: {first}" + (f" (and {len(others)} more: jobs/*/{LEFT_OUT})" if others else ""))


class TolerantExperiment(Experiment):
    """An experiment that leaves out routers whose training fails; its folder is a job's."""

    def routers(self, setup: ExperimentSetup, requests: Mapping[str, RoutingRequest]) -> dict[str, Router]:
        """Return the trained routers, without those whose training failed."""
        choices = self.trainable(setup)
        return train_each(choices, lambda name: self.router(name, choices[name], setup, requests), self.run.folder, self.progress)


def train_each(names: Iterable[str], train: Callable[[str], Router], folder: Path, progress: Progress) -> dict[str, Router]:
    """Train routers one after the other and return those whose training succeeded; ``left_out.json`` in the job's folder gives the failures.

    Raises:
        Exception: All failed: the last one's exception.
    """
    trained, left_out = dict[str, Router](), dict[str, str]()
    for name in names:
        try:
            trained[name] = train(name)
        except Exception as error:  # a plugin's router may fail in any way
            traceback.print_exc()  # into the job's log
            cause = error.__cause__ if isinstance(error, PluginError) and error.__cause__ else error  # the router is named beside it
            left_out[name] = f"{type(cause).__name__}: {' '.join(str(cause).split())}"
            progress.say(f"{name} is left out: {left_out[name]}")
            last = error
    if left_out and not trained:
        raise last
    (folder / LEFT_OUT).unlink(missing_ok=True)  # left by an attempt that was stopped
    if left_out:
        write_json(folder / LEFT_OUT, left_out)
    return trained


def without_left_out(names: Iterable[str], folder: Path) -> list[str]:
    """Return the names of routers that a job did not leave out."""
    path = folder / LEFT_OUT
    left_out = read_json(path) if path.exists() else {}
    return [name for name in names if name not in left_out]


def left_out_of(keys: Iterable[str], folder: Path) -> list[dict[str, Any]]:
    """Return the routers that the finished jobs of an experiment's folder left out, each with the job's key and the reason."""
    paths = {key: folder / JOBS / key / LEFT_OUT for key in keys}
    found = {key: read_json(path) for key, path in paths.items() if path.exists()}
    return [{"job": key, "router": router, "why": why} for key, reasons in found.items() for router, why in reasons.items()]


ESTIMATOR = "tce"
"""The default estimator."""


def settings_of(routers: Sequence[str], assignments: Sequence[str] = (), instead: Mapping[str, str] | None = None, **given: Any) -> Settings:
    """Return a run's settings from the command line's options; the first router is the run's own.

    ``assignments`` are the values of ``--set``, and ``instead`` holds settings that they must not change, with the options to use instead. Other
    options of ``aamc run`` are None if not given.

    Raises:
        UnknownComponentError: No plugin offers a router or estimator of that name.
        ConfigError: An assignment is for ``router``, though there are several, or for a setting in ``instead``.
    """
    elsewhere = {"router": "--routers", "routers": "--routers", **(instead or {})}
    for assignment in assignments:
        key = assignment.partition("=")[0].strip()
        if key.startswith("router."):
            raise ConfigError(f"--set {assignment}: there are several routers; name one, as in routers.{routers[0]}.{assignment[7:]}")
        if key in elsewhere:
            raise ConfigError(f"--set {assignment} would have no effect; use {elsewhere[key]}")
    named = {"estimator": ESTIMATOR} | {key: value for key, value in given.items() if value is not None}
    settings = settings_from_options({"assignments": tuple(assignments), "routers": ",".join(routers), **named})
    assert settings.routers is not None  # named above
    plugins = get_plugin_manager()
    for name in routers:
        plugins.find("router", name)
    if settings.estimator is not None:
        plugins.find("estimator", settings.estimator.name)
    return attrs.evolve(settings, router=settings.routers[routers[0]]).with_absolute_paths(plugins.names("model_pool"))


def try_to_begin(settings: Mapping[str, Any]) -> ExperimentSetup:
    """Begin a run in a temporary folder and return its setup, so that an error of all jobs comes once, before the first.

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
