"""The jobs: a run's trained routers under noise on its test rows, and routers that are trained again without some categories."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from aamc_environments.environment import add_noise
from aamc_experiments.data import TrainingFingerprint
from aamc_experiments.evaluation import HEADLINE, Comparison, complete_rows, question_units
from aamc_experiments.measurement import Measurement
from aamc_experiments.run_folder import RunFolder
from aamc_experiments.settings import Settings
from aamc_experiments.setup import ExperimentSetup, make_setup
from aamc_experiments.training import Experiment
from numpy.typing import NDArray

from aamc_bench.experiment_runs import without_left_out
from aamc_bench.robustness.text_noise import KINDS, disturb
from aamc_bench.samples import Sample
from aamc_sdk.config import Choice
from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import Estimator, Progress, Router
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.routing import build_request
from aamc_sdk.serving import component_name, find_checkpoint
from aamc_sdk.storage import write_arrays
from aamc_sdk.types import Dataset, Query, RoutingRequest


@attrs.frozen(eq=False)
class TrainedRun:
    """A run's trained estimator and routers, with the setup to measure them in."""

    run: RunFolder
    setup: ExperimentSetup
    estimator: Estimator | None
    routers: Mapping[str, Router]

    @classmethod
    def open(cls, folder: Path, routers: Sequence[str]) -> TrainedRun:
        """Load some of a run's routers, without those that its training left out.

        Raises:
            CheckpointError: The run is incomplete, or does not hold one of the routers.
        """
        run, plugins = RunFolder.open(folder), get_plugin_manager()
        services = run.services(plugins)
        setup, held = make_setup(run.settings, plugins, run.fingerprints[1:]), without_left_out(routers, run.folder)
        return cls(run, setup, run.estimator(plugins, services), {name: run.router(plugins, services, name) for name in held})

    def request(self, queries: Sequence[Query] | None = None) -> RoutingRequest:
        """Return the test rows as a router sees them, or the same with other texts."""
        queries = self.setup.splits["test"].queries if queries is None else queries
        return build_request(
            queries, self.run.pool, self.run.settings.preference.array, estimator=self.estimator, candidate_means=self.run.candidate_means
        )

    def play(self, request: RoutingRequest, progress: Progress, settings: Settings | None = None) -> Comparison:
        """Compare the routers on the test rows, with the run's settings or others."""
        run = self.run
        return Measurement(self.setup, self.routers, request, run.candidate_means, settings or run.settings, progress=progress).compare()


CLEAN, ESTIMATES = "none", "estimates"
SAMPLE, CHOICES = "sample.npz", "choices.npz"


def measure(folder: Path, progress: Progress, run: str, routers: Sequence[str], kind: str, level: float, episodes: int) -> None:
    """Measure a run's routers under one kind and level of noise, and save the sample and the choices in the job's folder.

    An episode is a stream of the simulator; on a table it is as many test rows, drawn at random. Episodes have the same queries and
    random events under every noise, so that differences are paired. The path of the run may be relative to the jobs' folder.
    """
    trained = TrainedRun.open(folder.parent / run, routers)
    settings, setup = trained.run.settings, trained.setup
    how, seed, test = settings.evaluation, settings.seed, setup.splits["test"]
    rows = _rows(test, trained.request(), episodes, how.steps, seed) if setup.env.stationary else np.arange(len(test))
    questions, test = question_units(test.queries)[rows], test.take(rows)
    trained = attrs.evolve(trained, setup=attrs.evolve(setup, splits={"test": test}))
    queries = test.queries if kind not in KINDS else [attrs.evolve(query, text=disturb(query.text, kind, level, seed)) for query in test.queries]
    request = trained.request(queries)
    if kind == ESTIMATES:
        request = add_noise(request, level, np.random.default_rng(seed))
    comparison = trained.play(request, progress, attrs.evolve(settings, evaluation=attrs.evolve(how, streams=episodes)))
    if comparison.is_table:  # noise changes texts; the question without it is the unit of resampling
        comparison = attrs.evolve(comparison, stream=np.unique(questions, return_inverse=True)[1].ravel())
    folder.mkdir(exist_ok=True)
    Sample.of(comparison, setup.services.reward, how, seed).save(folder / SAMPLE)
    write_arrays(folder / CHOICES, {"chosen": comparison.chosen[:, HEADLINE], "unit": comparison.stream})


def _rows(test: Dataset, request: RoutingRequest, episodes: int, steps: int, seed: int) -> NDArray[np.intp]:
    """Return the rows of the episodes, one after the other; an episode has each row at most once.

    Raises:
        DataError: No row has an outcome of every allowed candidate.
    """
    assert test.outcomes is not None  # of a table
    known = complete_rows(test.outcomes, request.mask, request.pool.names)
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.choice(known, size=min(steps, len(known)), replace=False) for _ in range(episodes)])


HOME, AWAY = "home", "away"
"""The compared routers: those that were trained on all categories, and those that were trained without the group."""


def shift(folder: Path, progress: Progress, run: str, routers: Sequence[str], group: int, groups: int) -> dict[str, Any] | None:
    """Train a run's routers again without a group of categories, as a run in the job's folder, and measure both on the given run's test rows.

    Returns:
        The group's categories, and the number of queries; None if the data has fewer categories than groups.
    """
    home = TrainedRun.open(folder.parent / run, routers)
    categories = divide(home.setup.splits["train"], groups, home.run.settings.seed)[group]
    if not categories:
        return None
    begun = (folder / "run.yaml").exists()
    if not begun:
        shutil.rmtree(folder, ignore_errors=True)  # left by an attempt that was stopped before its first file was complete
    away = ShiftExperiment(_settings(home.run.settings, list(home.routers)), home.setup, categories, folder, progress, resumed=begun)
    away.complete()
    compared = TrainedRun(home.run, without(home.setup, categories), home.estimator, home.routers)
    comparisons = {HOME: compared.play(compared.request(), progress), AWAY: Comparison.load(folder / "decisions.npz")}
    how, seed = home.run.settings.evaluation, home.run.settings.seed
    for name, comparison in comparisons.items():
        same_range = attrs.evolve(comparison, candidate_means=home.run.candidate_means)
        Sample.of(same_range, home.setup.services.reward, how, seed).save(folder / f"{name}.npz")
    return {"categories": categories, "queries": len(comparisons[HOME].queries)}


class ShiftExperiment(Experiment):
    """A run that is trained without some categories of a setup and tested on only these, with the scales of the setup."""

    def __init__(
        self, settings: Settings, setup: ExperimentSetup, categories: Sequence[str], folder: Path, progress: Progress, *, resumed: bool
    ) -> None:
        super().__init__(settings, get_plugin_manager(), folder, progress, resumed=resumed)
        self._rows = without(setup, categories)

    def make_setup(self, fingerprints: Sequence[TrainingFingerprint]) -> ExperimentSetup:
        """Return the given setup without the held-out rows."""
        return self._rows


def without(setup: ExperimentSetup, categories: Sequence[str]) -> ExperimentSetup:
    """Return a setup without some categories in its training and validation rows, and with only these in its test rows."""
    splits = {}
    for name, split in setup.splits.items():
        assert split.labels.category is not None  # otherwise there is no group
        splits[name] = split.take(np.flatnonzero(np.isin(split.labels.category, categories) == (name == "test")))
    setup.env.prepare(splits)
    return attrs.evolve(setup, splits=splits)


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
