"""The job: a run's trained routers on its test rows, with or without noise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs
import numpy as np
from aamc_environments.noise import add_noise
from aamc_experiments.evaluation import HEADLINE, Comparison, Integers, question_units
from numpy.typing import NDArray

from aamc_bench.robustness.text_noise import disturb
from aamc_bench.robustness.trained_run import TrainedRun
from aamc_bench.samples import Sample
from aamc_sdk.interfaces import Progress
from aamc_sdk.storage import write_arrays
from aamc_sdk.types import Dataset, Query

CLEAN, ESTIMATES = "none", "estimates"
SAMPLE, CHOICES = "sample.npz", "choices.npz"


def measure(folder: Path, progress: Progress, run: str, routers: Sequence[str], kind: str, level: float, episodes: int) -> None:
    """Measure a run's routers under one kind and level of noise, and save the sample and the choices in the job's folder.

    An episode is a stream of the simulator; on a table it is as many test rows, drawn at random. Episodes have the same queries and
    random events under every noise, so that differences are paired.

    Args:
        folder: The job's folder.
        progress: Where to report.
        run: The run's folder; a relative path is below the jobs' folder.
        routers: The routers to measure.
        kind: ``"none"``, ``"estimates"``, or a kind of text noise.
        level: The standard deviation of the error of estimates, or the share of a text noise.
        episodes: The number of episodes.
    """
    trained = TrainedRun.open(folder.parent / run, routers)
    settings, world = trained.run.settings, trained.world
    how, seed, test = settings.evaluation, settings.seed, world.splits["test"]
    rows = _rows(test, episodes, how.steps, seed) if world.env.stationary else np.arange(len(test))
    questions, test = question_units(test.queries)[rows], test.take(rows)
    trained = attrs.evolve(trained, world=attrs.evolve(world, splits={"test": test}))
    request = trained.request([_disturbed(query, kind, level, seed) for query in test.queries])
    if kind == ESTIMATES:
        request = add_noise(request, level, np.random.default_rng(seed))
    comparison = trained.play(request, progress, attrs.evolve(settings, evaluation=attrs.evolve(how, streams=episodes)))
    folder.mkdir(exist_ok=True)
    by_question = _by_question(comparison, questions)
    Sample.of(by_question, world.services.reward, how, seed).save(folder / SAMPLE)
    write_arrays(folder / CHOICES, {"chosen": by_question.chosen[:, HEADLINE], "unit": by_question.stream})


def _rows(test: Dataset, episodes: int, steps: int, seed: int) -> NDArray[np.intp]:
    """Return the rows of the episodes, one after the other; an episode has each row at most once."""
    known = np.flatnonzero(test.complete)
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.choice(known, size=min(steps, len(known)), replace=False) for _ in range(episodes)])


def _disturbed(query: Query, kind: str, level: float, seed: int) -> Query:
    return query if kind in (CLEAN, ESTIMATES) else attrs.evolve(query, text=disturb(query.text, kind, level, seed))


def _by_question(comparison: Comparison, questions: Integers) -> Comparison:
    """Make each question of a table, without its noise, a unit of resampling; streams are units already."""
    if not comparison.is_table:
        return comparison
    return attrs.evolve(comparison, stream=np.unique(questions, return_inverse=True)[1].ravel())
