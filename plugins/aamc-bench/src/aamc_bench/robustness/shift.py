"""Shift: what routers lose on categories of queries that they were not trained on.

The categories are dealt into groups. For each group, routers are trained without its rows and measured on its test
rows, beside routers that were trained on all categories, on the same rows.
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
from aamc_experiments.setup import World

from aamc_bench.robustness.trained import Trained
from aamc_bench.samples import Sample
from aamc_sdk.config import Choice
from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import Progress
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.serving import find_checkpoint, part_name
from aamc_sdk.types import Dataset

HOME, AWAY = "home", "away"
"""Who is compared: routers that were trained on all categories, and those that were trained without the group."""


def shift(folder: Path, progress: Progress, run: str, routers: Sequence[str], group: int, groups: int) -> dict[str, Any] | None:
    """Train a run's routers again without a group of categories, and measure both on its test rows.

    Args:
        folder: The job's; a run of the routers that were trained without the group.
        progress: Where to report.
        run: The given run's folder, below the jobs' if it is no whole path.
        routers: Which of its routers.
        group: Which group, from 0.
        groups: Into how many the categories are dealt.

    Returns:
        The group's categories, and the number of queries; None where the data has fewer categories than groups.
    """
    home = Trained.open(folder.parent / run, routers)
    categories = deal(home.world.splits["train"], groups, home.run.settings.seed)[group]
    if not categories:
        return None
    begun = (folder / "run.yaml").exists()
    if not begun:
        shutil.rmtree(folder, ignore_errors=True)  # stopped before its first file was whole
    away = Unfamiliar(_settings(home.run.settings, list(home.routers)), home.world, categories, folder, progress, resumed=begun)
    away.complete()
    met = Trained(home.run, without(home.world, categories), home.estimator, home.routers)
    comparisons = {HOME: met.play(met.request(), progress), AWAY: Comparison.load(folder / "decisions.npz")}
    how, seed = home.run.settings.evaluation, home.run.settings.seed
    for name, comparison in comparisons.items():
        same_range = attrs.evolve(comparison, candidate_means=home.run.candidate_means)
        Sample.of(same_range, home.world.services.reward, how, seed).save(folder / f"{name}.npz")
    return {"categories": categories, "queries": len(comparisons[HOME].queries)}


class Unfamiliar(Experiment):
    """A run that is trained without some categories and tested on these alone, in a given world, by its scales.

    Args:
        settings: What it is made of.
        world: The world with all rows.
        categories: Those to hold out.
        folder: Where everything goes.
        progress: Where to report.
        resumed: Whether the folder holds its beginning already.
    """

    def __init__(self, settings: Settings, world: World, categories: Sequence[str], folder: Path, progress: Progress, *, resumed: bool) -> None:
        super().__init__(settings, get_plugin_manager(), folder, progress, resumed=resumed)
        self._rows = without(world, categories)

    def world(self, taken_over: Sequence[TrainingFingerprint]) -> World:
        """Return the given world, less the rows that this run is not to see."""
        return self._rows


def without(world: World, categories: Sequence[str]) -> World:
    """Return a world whose training and validation rows lack some categories, and whose test rows are of these alone."""
    splits = {name: _of_categories(split, categories, held_out=name == "test") for name, split in world.splits.items()}
    world.env.prepare(splits)
    return attrs.evolve(world, splits=splits)


def deal(dataset: Dataset, groups: int, seed: int) -> list[list[str]]:
    """Return the categories of each group, in alphabetical order; no group has any where there are fewer categories than groups."""
    names = categories_of(dataset)
    if len(names) < max(groups, 2):
        return [[] for _ in range(groups)]
    shuffled = np.random.default_rng(seed).permutation(names)
    return [sorted(shuffled[group::groups].tolist()) for group in range(groups)]


def categories_of(dataset: Dataset) -> list[str]:
    """Return the categories that a dataset's rows name, in alphabetical order."""
    labels = dataset.labels.category
    return [] if labels is None else sorted(set(labels.tolist()) - {""})


def _of_categories(split: Dataset, categories: Sequence[str], held_out: bool) -> Dataset:
    """Return a split's rows of some categories, or all others."""
    assert split.labels.category is not None  # else there is no group
    return split.take(np.flatnonzero(np.isin(split.labels.category, categories) == held_out))


def check_trained_here(settings: Settings, routers: Sequence[str]) -> None:
    """Raise where a run's routers cannot be trained again without some categories, because it took over what others trained.

    Raises:
        ConfigError: Its estimator or one of the routers is a checkpoint, which has seen the categories.
    """
    again = _settings(settings, routers)
    parts = [("router", choice.name) for choice in (again.routers or {}).values()]
    if again.estimator is not None:
        parts.append(("estimator", again.estimator.name))
    for kind, name in parts:
        if find_checkpoint(name, kind) is not None:
            raise ConfigError(f"shift trains again without some categories, and the {kind} is the checkpoint {name}; leave shift out of --kinds")


def _settings(settings: Settings, routers: Sequence[str]) -> Settings:
    """Return the settings under which the given run's routers are trained again."""
    named = settings.routers or {}
    own = part_name(settings.router.name, "router")
    choices = {name: settings.router if name == own else named.get(name, Choice(name)) for name in routers}
    return attrs.evolve(settings, router=choices[routers[0]], routers=choices)
