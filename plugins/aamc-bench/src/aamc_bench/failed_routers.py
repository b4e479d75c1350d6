"""Routers whose training fails are left out, and the others of their job are measured."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from aamc_experiments.experiment import Experiment
from aamc_experiments.setup import ExperimentSetup

from aamc_bench.grid import JOBS
from aamc_sdk.errors import AamcError
from aamc_sdk.interfaces import Progress, Router
from aamc_sdk.storage import read_json, write_json
from aamc_sdk.types import RoutingRequest

LEFT_OUT = "left_out.json"
"""The file in a job's folder with the routers that the job left out, and the reasons."""


class RoutersLeftOut(AamcError):
    """Raised at the end of a benchmark that had to leave routers out; the others were measured.

    Args:
        left_out: Each job's key, router and reason.
    """

    def __init__(self, left_out: Iterable[Mapping[str, str]]) -> None:
        first, *others = [f"{one['router']} in {one['job']}: {one['why']}" for one in left_out]
        super().__init__(f"left out, for training failed: {first}" + (f" (and {len(others)} more: jobs/*/{LEFT_OUT})" if others else ""))


class TolerantExperiment(Experiment):
    """An experiment that leaves out routers whose training fails; its folder is a job's."""

    def routers(self, world: ExperimentSetup, requests: Mapping[str, RoutingRequest]) -> dict[str, Router]:
        """Return the trained routers, without those whose training failed."""
        choices = self.trainable(world)
        return train_each(choices, lambda name: self.router(name, choices[name], world, requests), self.run.folder, self.progress)


def train_each(names: Iterable[str], train: Callable[[str], Router], folder: Path, progress: Progress) -> dict[str, Router]:
    """Train routers one after the other and return those whose training succeeded.

    Args:
        names: The routers' names.
        train: Trains the router of a name.
        folder: The job's folder, in which ``left_out.json`` gives the failures.
        progress: Where to report.

    Raises:
        Exception: All failed: the last one's exception.
    """
    trained, left_out = dict[str, Router](), dict[str, str]()
    for name in names:
        try:
            trained[name] = train(name)
        except Exception as error:  # a plugin's router may fail in any way
            traceback.print_exc()  # into the job's log
            left_out[name] = f"{type(error).__name__}: {' '.join(str(error).split())}"
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
    """Return the routers that jobs left out, each with the job's key and the reason.

    Args:
        keys: The keys of finished jobs.
        folder: The experiment's folder.
    """
    paths = {key: folder / JOBS / key / LEFT_OUT for key in keys}
    found = {key: read_json(path) for key, path in paths.items() if path.exists()}
    return [{"job": key, "router": router, "why": why} for key, reasons in found.items() for router, why in reasons.items()]
