"""Shift: what routers lose on categories of queries that they were not trained on.

The categories are dealt into groups. For each group, routers are trained without its rows and measured on its test
rows, beside routers that were trained on all categories, on the same rows.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from aamc_datasets.labelled_csv import write_labelled
from aamc_datasets.outcomes import ROWS_FILE, write_outcomes
from aamc_datasets.synthetic import FILES

from aamc_bench.samples import Sample
from aamc_bench.training import complete_run
from aamc_sdk.dataset import Dataset
from aamc_sdk.evaluation.comparison import Comparison
from aamc_sdk.files import write_text
from aamc_sdk.interfaces import Progress
from aamc_sdk.measure import measure_run
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.runs import Run
from aamc_sdk.settings import Choice, Settings, Source
from aamc_sdk.world import make_world

HOME, AWAY = "home", "away"
"""The runs below a job's folder: the given run's routers on the group's rows, and routers that were trained without the group."""


def shift(folder: Path, progress: Progress, run: str, routers: Sequence[str], group: int, groups: int) -> dict[str, Any] | None:
    """Train a run's routers again without a group of categories, and measure both on its test rows.

    Args:
        folder: The job's.
        progress: Where to report.
        run: The run's folder, from the job's own if it is relative to it.
        routers: Which of its routers.
        group: Which group, from 0.
        groups: Into how many the categories are dealt.

    Returns:
        The group's categories, and its number of test rows; None where the data has fewer categories than groups.
    """
    plugins, opened = get_plugin_manager(), Run.open(folder / run)
    world = make_world(opened.settings, plugins)
    categories = deal(world.splits["train"], groups, opened.settings.seed)[group]
    if not categories:
        return None
    splits = {name: _of_categories(split, categories, held_out=name == "test") for name, split in world.splits.items()}
    dataset, test = (_write_table if world.env.stationary else _write_labelled)(folder / "data", splits)
    complete_run(folder / AWAY, progress, _settings(opened.settings, routers, dataset, test).plain())
    shutil.rmtree(folder / HOME, ignore_errors=True)  # what was stopped is begun anew: it is quick
    measure_run(opened, plugins, progress, names=routers, preference=opened.settings.preference, source=test, out=folder / HOME)
    reward, means = opened.services(plugins).reward, opened.candidate_means
    for name in (HOME, AWAY):  # both by the given run's scales
        comparison = attrs.evolve(Comparison.load(folder / name / "decisions.npz"), candidate_means=means)
        Sample.of(comparison, reward, opened.settings.evaluation, opened.settings.seed).save(folder / f"{name}.npz")
    return {"categories": categories, "queries": len(comparison.queries)}


def deal(dataset: Dataset, groups: int, seed: int) -> list[list[str]]:
    """Return the categories of each group, in alphabetical order; no group has any where there are fewer categories than groups."""
    names = np.array([]) if dataset.labels.category is None else np.unique(dataset.labels.category[dataset.labels.category != ""])
    if len(names) < max(groups, 2):
        return [[] for _ in range(groups)]
    shuffled = np.random.default_rng(seed).permutation(names)
    return [sorted(shuffled[group::groups].tolist()) for group in range(groups)]


def _of_categories(split: Dataset, categories: Sequence[str], held_out: bool) -> Dataset:
    """Return a split's rows of some categories, or all others."""
    assert split.labels.category is not None  # else there is no group
    return split.take(np.flatnonzero(np.isin(split.labels.category, categories) == held_out))


def _write_table(folder: Path, splits: Mapping[str, Dataset]) -> tuple[Source, Source]:
    """Write outcomes in the native format; return what to train on, validation rows included, and what to test on."""
    for name, split in splits.items():
        write_outcomes(split, folder / name)
    validation = (folder / "validation" / ROWS_FILE).read_text(encoding="utf-8")
    write_text(folder / "train" / ROWS_FILE, (folder / "train" / ROWS_FILE).read_text(encoding="utf-8") + validation)
    return Source("outcomes", path=str(folder / "train")), Source("outcomes", path=str(folder / "test"))


def _write_labelled(folder: Path, splits: Mapping[str, Dataset]) -> tuple[Source, Source]:
    """Write labelled queries for the simulator; one folder holds what to train on and what to test on."""
    for name, split in splits.items():
        write_labelled(folder / FILES[name], split)
    return (Source("synthetic", path=str(folder)),) * 2


def _settings(settings: Settings, routers: Sequence[str], dataset: Source, test: Source) -> Settings:
    """Return the settings under which the given run's routers are trained again."""
    named = settings.routers or {}
    choices = {name: settings.router if name == settings.router.name else named.get(name, Choice(name)) for name in routers}
    return attrs.evolve(settings, dataset=dataset, test_dataset=None if dataset == test else test, router=choices[routers[0]], routers=choices)
