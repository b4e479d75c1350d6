"""The job of shift: the losses of routers on categories of queries without training data.

The categories are divided into groups. For each group, routers are trained without its rows and measured on its test
rows, compared with routers that were trained on all categories, on the same rows.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from aamc_experiments.data import TrainingFingerprint
from aamc_experiments.evaluation import Comparison
from aamc_experiments.experiment import Experiment
from aamc_experiments.settings import Settings
from aamc_experiments.setup import ExperimentSetup

from aamc_bench.robustness.trained_run import TrainedRun
from aamc_bench.samples import Sample
from aamc_sdk.config import Choice
from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import Progress
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.serving import component_name, find_checkpoint
from aamc_sdk.types import Dataset

HOME, AWAY = "home", "away"
"""The compared routers: those that were trained on all categories, and those that were trained without the group."""


def shift(folder: Path, progress: Progress, run: str, routers: Sequence[str], group: int, groups: int) -> dict[str, Any] | None:
    """Train a run's routers again without a group of categories, and measure both on its test rows.

    Args:
        folder: The job's folder, which becomes a run of the routers that are trained without the group.
        progress: Where to report.
        run: The given run's folder; a relative path is below the jobs' folder.
        routers: The routers to measure.
        group: The group's number, from 0.
        groups: The number of groups.

    Returns:
        The group's categories, and the number of queries; None if the data has fewer categories than groups.
    """
    home = TrainedRun.open(folder.parent / run, routers)
    categories = divide(home.world.splits["train"], groups, home.run.settings.seed)[group]
    if not categories:
        return None
    begun = (folder / "run.yaml").exists()
    if not begun:
        shutil.rmtree(folder, ignore_errors=True)  # left by an attempt that was stopped before its first file was complete
    away = ShiftExperiment(_settings(home.run.settings, list(home.routers)), home.world, categories, folder, progress, resumed=begun)
    away.complete()
    compared = TrainedRun(home.run, without(home.world, categories), home.estimator, home.routers)
    comparisons = {HOME: compared.play(compared.request(), progress), AWAY: Comparison.load(folder / "decisions.npz")}
    how, seed = home.run.settings.evaluation, home.run.settings.seed
    for name, comparison in comparisons.items():
        same_range = attrs.evolve(comparison, candidate_means=home.run.candidate_means)
        Sample.of(same_range, home.world.services.reward, how, seed).save(folder / f"{name}.npz")
    return {"categories": categories, "queries": len(comparisons[HOME].queries)}


class ShiftExperiment(Experiment):
    """A run that is trained without some categories and tested on only these, with the scales of a given world.

    Args:
        settings: The run's settings.
        world: The world with all rows.
        categories: The categories to hold out.
        folder: The run's folder.
        progress: Where to report.
        resumed: Whether the folder holds the beginning of the run.
    """

    def __init__(
        self, settings: Settings, world: ExperimentSetup, categories: Sequence[str], folder: Path, progress: Progress, *, resumed: bool
    ) -> None:
        super().__init__(settings, get_plugin_manager(), folder, progress, resumed=resumed)
        self._rows = without(world, categories)

    def make_setup(self, fingerprints: Sequence[TrainingFingerprint]) -> ExperimentSetup:
        """Return the given world without the held-out rows."""
        return self._rows


def without(world: ExperimentSetup, categories: Sequence[str]) -> ExperimentSetup:
    """Return a world without some categories in its training and validation rows, and with only these in its test rows."""
    splits = {name: _of_categories(split, categories, held_out=name == "test") for name, split in world.splits.items()}
    world.env.prepare(splits)
    return attrs.evolve(world, splits=splits)


def divide(dataset: Dataset, groups: int, seed: int) -> list[list[str]]:
    """Return the categories of each group, in alphabetical order; all groups are empty if there are fewer categories than groups."""
    names = categories_of(dataset)
    if len(names) < max(groups, 2):
        return [[] for _ in range(groups)]
    shuffled = np.random.default_rng(seed).permutation(names)
    return [sorted(shuffled[group::groups].tolist()) for group in range(groups)]


def categories_of(dataset: Dataset) -> list[str]:
    """Return the categories of a dataset's rows, in alphabetical order."""
    labels = dataset.labels.category
    return [] if labels is None else sorted(set(labels.tolist()) - {""})


def _of_categories(split: Dataset, categories: Sequence[str], held_out: bool) -> Dataset:
    """Return a split's rows of some categories, or of all others."""
    assert split.labels.category is not None  # otherwise there is no group
    return split.take(np.flatnonzero(np.isin(split.labels.category, categories) == held_out))


def check_trained_here(settings: Settings, routers: Sequence[str]) -> None:
    """Raise if a run's routers cannot be trained again without some categories.

    Raises:
        ConfigError: The estimator or one of the routers is a checkpoint, which was trained on the categories.
    """
    again = _settings(settings, routers)
    parts = [("router", choice.name) for choice in (again.routers or {}).values()]
    if again.estimator is not None:
        parts.append(("estimator", again.estimator.name))
    for kind, name in parts:
        if find_checkpoint(name, kind) is not None:
            raise ConfigError(f"shift trains again without some categories, and the {kind} is the checkpoint {name}; leave shift out of --kinds")


def _settings(settings: Settings, routers: Sequence[str]) -> Settings:
    """Return the settings with which the given run's routers are trained again."""
    named = settings.routers or {}
    own = component_name(settings.router.name, "router")
    choices = {name: settings.router if name == own else named.get(name, Choice(name)) for name in routers}
    return attrs.evolve(settings, router=choices[routers[0]], routers=choices)
