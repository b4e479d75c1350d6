"""The record of a comparison, from which every reported number is computed, and the preferences at which routers are compared.

R routers, P = 43 preferences, Q queries, M candidates. In a simulation, queries are played in streams, where each router has
its own waiting times. A table has one outcome for each query and candidate, the same for all routers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_experiments.evaluation.bootstrap import Resampling
from aamc_sdk.errors import CheckpointError
from aamc_sdk.interfaces import Reward
from aamc_sdk.storage import array_hash, read_arrays, write_arrays
from aamc_sdk.types import Floats, Outcomes, Preference, text_hash, without_latency

HEADLINE = 0
"""The row of the user's preference."""
SWEEP = slice(1, 22)
"""The rows from quality alone to cost alone: the cost-quality frontier."""
QUALITY_ALONE = 1
"""The row (1, 0, 0), at which utilities are recorded."""
LATTICE = slice(22, 43)
"""The rows that cover the simplex evenly."""
LATTICE_STEPS = 5


def sweep() -> Floats:
    """Return (1, x, 0) / (1 + x) for x = 0 and 19 values evenly spaced in logarithm from 0.003 to 10, then (0, 1, 0): ``[21, 3]``."""
    return from_quality_to_cost(0.003, 10, 19)


def from_quality_to_cost(low: float, high: float, count: int) -> Floats:
    """Return (1, x, 0) / (1 + x) for x = 0 and values evenly spaced in logarithm between two bounds, then (0, 1, 0): ``[count + 2, 3]``."""
    ratios = np.concatenate(([0.0], np.geomspace(low, high, count)))
    inner = np.column_stack((np.ones(count + 1), ratios, np.zeros(count + 1))) / (1 + ratios)[:, None]
    return np.vstack((inner, (0.0, 1.0, 0.0)))


def lattice() -> Floats:
    """Return all multiples of 1/5 on the simplex, from quality alone down: ``[21, 3]``."""
    whole = range(LATTICE_STEPS, -1, -1)
    points = [(q, c, LATTICE_STEPS - q - c) for q in whole for c in whole if q + c <= LATTICE_STEPS]
    return np.array(points) / LATTICE_STEPS


def evaluation_points(headline: Preference, latency_counts: bool = True) -> Floats:
    """Return the 43 preferences of a comparison, ``[43, 3]``; repeats are kept.

    Args:
        headline: The user's preference, row 0.
        latency_counts: Whether latency is known. If not, its weight in the headline is dropped and the rest rescaled,
            and the sweep replaces the lattice.

    Raises:
        PreferenceError: The headline preference weighs only latency, which is not known.
    """
    if latency_counts:
        return np.vstack((headline.array, sweep(), lattice()))
    return np.vstack((without_latency(headline.array), sweep(), sweep()))


def latency_counts(reward: Reward, outcomes: Outcomes | None = None) -> bool:
    """Return whether the reward weighs latency, and the outcomes, if given, hold latencies."""
    weighed = reward.weights(np.full((1, 3), 1 / 3))[0, 2] > 0
    return bool(weighed and (outcomes is None or outcomes.latency_known))


HASH = "sha256"
"""The array of ``decisions.npz`` with the hash of the others."""

MEASURE_AGAIN = "complete the run with: aamc run --resume and its folder; if it is an evaluation, run aamc evaluate again with another --out"
"""The advice of errors about damaged results."""

Names = NDArray[np.str_]
Integers = NDArray[np.integer[Any]]
"""An array of integers."""
GROWTH, GROWTH_ERRORS = 0.1, 3.0
"""Share and standard errors by which the latency in the second half of the streams exceeds that in the warm-up where waits grow."""


@attrs.frozen(eq=False, kw_only=True)
class Comparison:
    """The decisions of R routers and their outcomes; each attribute is an array of ``decisions.npz``.

    Attributes:
        routers: Names, ``[R]``.
        preferences: Row 0 is the headline's, 1 to 21 the sweep, 22 to 42 the lattice, ``[P, 3]``.
        queries: SHA-256 of each text, ``[Q]``.
        category: The dataset's category, else the predicted one, ``[Q]``.
        candidates: Names, ``[M]``.
        candidate_means: Training means of quality, cost in USD, latency in ms, ``[M, 3]``.
        scales: Minimum and maximum of cost and of latency in the default reward, ``[2, 2]``; NaN in other rewards.
        chosen: The position of the chosen candidate, ``[R, P, Q]``.
        spent_usd: The cost of deciding in USD, ``[R, P, Q]``.
        expected_quality: The quality that the router, or else the estimator, expected at (1, 0, 0), ``[R, Q, M]``; NaN where unknown.
        utility: The router's scores at (1, 0, 0), ``[R, Q, M]``.
        stream: The stream that each query was played in, ``[Q]``; in a table the number of its question.
        quality: ``[Q, M]`` of a table, or ``[R, P, Q]`` as played in streams. Where a candidate of a table is not allowed and has no outcome, it
            is NaN for all that are not allowed.
        cost_usd: Of the shape of ``quality``, without the cost of deciding.
        latency_ms: Of the shape of ``quality``, without the time of deciding; NaN where unknown.
        missing: The number of queries that were left out because an outcome was missing.
        spent_ms: The time of deciding in ms, beyond computing, ``[R, P, Q]``; a single 0 in older files.
        counterfactual_quality: In streams the quality that each candidate would have had, ``[Q, M]``, NaN for one that was not allowed;
            empty for a table, and where it is unknown.
        warm_up_latency_ms: Mean latency at the headline's preference in the second half of the warm-up, ``[R, streams]``; empty without one. It is
            not in the file: it shows whether the warm-up was long enough, and no figure counts it.
    """

    routers: Names
    preferences: Floats
    queries: Names
    category: Names
    candidates: Names
    candidate_means: Floats
    scales: Floats
    chosen: Integers
    spent_usd: Floats
    expected_quality: Floats
    utility: Floats
    stream: Integers
    quality: Floats
    cost_usd: Floats
    latency_ms: Floats
    missing: Integers
    spent_ms: Floats = attrs.field(factory=lambda: np.zeros(()))
    counterfactual_quality: Floats = attrs.field(factory=lambda: np.zeros((0, 0)))
    warm_up_latency_ms: Floats = attrs.field(factory=lambda: np.zeros((0, 0)), metadata={"saved": False})

    @property
    def is_table(self) -> bool:
        """Whether the outcomes are those of a table, not of streams."""
        return self.quality.ndim == 2

    @property
    def units(self) -> tuple[Integers, ...]:
        """The units of resampling of each query, ``[Q]`` each: in a table its question; in streams its stream, its question, and itself.

        A query without text is a question of its own.
        """
        if self.is_table:
            return (self.stream,)
        query = np.arange(len(self.queries))
        question = np.unique(np.where(self.queries == text_hash(""), query.astype(np.str_), self.queries), return_inverse=True)[1]
        return self.stream, question, query

    def resamplings(self, resamples: int, seed: int) -> list[Resampling]:
        """Return resamples of each of the units."""
        return [Resampling.bootstrap(unit, resamples, seed) for unit in self.units]

    @property
    def questions(self) -> int:
        """The number of different questions."""
        return len(np.unique(self.units[0 if self.is_table else 1]))

    @property
    def constant_outcomes(self) -> Outcomes:
        """The outcomes of each constant policy of a table, ``[Q, M]``; the first candidate with an outcome serves where its own has none."""
        return Outcomes(self.quality, self.cost_usd, self.latency_ms).with_substitutes(~np.isnan(self.cost_usd))

    def is_graded(self, rows: NDArray[np.bool_] | slice = slice(None)) -> bool:
        """Return whether some quality of rows ``[Q]`` lies between 0 and 1."""
        quality = self.quality[rows] if self.is_table else self.quality[..., rows]
        return bool(((quality > 0) & (quality < 1)).any())

    @property
    def candidate_quality(self) -> Floats | None:
        """The quality of every candidate, ``[Q, M]``; None if only that of chosen ones is known."""
        if self.is_table:
            return self.quality
        return self.counterfactual_quality if len(self.counterfactual_quality) else None

    def realised(self, router: int) -> Outcomes:
        """Return the outcomes of a router's decisions, ``[P, Q]``; cost and latency include those of deciding."""
        place = (np.arange(len(self.queries)), self.chosen[router]) if self.is_table else router
        quality, cost, latency = self.quality[place], self.cost_usd[place], self.latency_ms[place]
        own_ms = np.broadcast_to(self.spent_ms, self.chosen.shape)[router]
        return Outcomes(quality, cost + self.spent_usd[router], latency + own_ms)

    def success_cost_latency(self, router: int, success_threshold: float) -> Floats:
        """Return success, cost in USD and latency in ms of each query at the headline's preference, ``[Q, 3]``."""
        outcomes = self.realised(router)
        quality, cost, latency = (values[HEADLINE] for values in (outcomes.known_quality, outcomes.cost_usd, outcomes.latency_ms))
        return np.column_stack((quality >= success_threshold, cost, latency))

    def constant_choices(self) -> dict[str, list[str]]:
        """Return the routers that chose one candidate for every query at the headline's preference, by that candidate."""
        found: dict[str, list[str]] = {}
        for router, choices in zip(self.routers.tolist(), self.chosen[:, HEADLINE], strict=True):
            if (choices == choices[0]).all():
                found.setdefault(str(self.candidates[choices[0]]), []).append(router)
        return found

    def growing_waits(self) -> list[str]:
        """Return the routers whose latency has grown since the warm-up at the headline's preference: longer streams would show more.

        Without a warm-up the first half of the streams stands for it.
        """
        if self.is_table:
            return []
        streams = int(self.stream.max()) + 1
        latency = self.latency_ms[:, 0].reshape(len(self.routers), -1, streams)  # [R, steps, streams]
        half = latency.shape[1] // 2
        if half < 2 or streams < 2:
            return []
        first = self.warm_up_latency_ms if self.warm_up_latency_ms.size else latency[:, :half].mean(axis=1)
        second = latency[:, -half:].mean(axis=1)
        growth = second - first
        error = growth.std(axis=1, ddof=1) / np.sqrt(streams)
        grows = (growth.mean(axis=1) > GROWTH_ERRORS * error) & (second.mean(axis=1) > (1 + GROWTH) * first.mean(axis=1))
        return [str(name) for name in self.routers[grows]]

    def save(self, path: Path) -> None:
        """Write an npz."""
        arrays = attrs.asdict(self, recurse=False, filter=lambda field, _: field.metadata.get("saved", True))
        write_arrays(path, {**arrays, HASH: np.array(array_hash(arrays))})

    @classmethod
    def load(cls, path: Path) -> Comparison:
        """Read the comparison that :meth:`save` wrote.

        Raises:
            CheckpointError: The file is missing, damaged, or not a comparison.
        """
        arrays = read_arrays(path, MEASURE_AGAIN)
        saved = arrays.pop(HASH, None)  # version 0.1 wrote none
        if saved is not None and str(saved) != array_hash(arrays):
            raise CheckpointError(f"{path} was changed after it was written; {MEASURE_AGAIN}")
        lacking = [field.name for field in attrs.fields(cls) if field.default is attrs.NOTHING and field.name not in arrays]
        if lacking:
            raise CheckpointError(f"{path} is not a comparison: it lacks {', '.join(lacking)}; {MEASURE_AGAIN}")
        return cls(**{field.name: arrays[field.name] for field in attrs.fields(cls) if field.name in arrays})
