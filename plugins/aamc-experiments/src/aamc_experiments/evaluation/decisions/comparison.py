"""The record of a comparison, from which every reported number is computed.

R routers, P = 43 preferences, Q queries, M candidates. In a simulation, queries are played in streams, where each router has
its own waiting times. A table has one outcome for each query and candidate, the same for all routers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.errors import CheckpointError
from aamc_sdk.storage import array_hash, read_arrays, write_arrays
from aamc_sdk.types import Floats, Outcomes

HASH = "sha256"
"""The array of ``decisions.npz`` with the hash of the others."""

MEASURE_AGAIN = "complete the run with: aamc run --resume and its folder; if it is an evaluation, run aamc evaluate again with another --out"
"""What to do about damaged results."""

Names = NDArray[np.str_]
Integers = NDArray[np.integer[Any]]
"""An array of integers."""
GROWTH, GROWTH_ERRORS = 0.1, 4.0
"""Share and standard errors by which the latency of the second half of the streams exceeds that of the first where waits grow."""


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
        expected_quality: The quality that the router expected at (1, 0, 0), ``[R, Q, M]``; NaN where unknown.
        utility: The router's scores at (1, 0, 0), ``[R, Q, M]``.
        stream: The unit of resampling of each query, ``[Q]``: the stream that it was played in; in a table the number of its question.
        quality: ``[Q, M]`` of a table, ``[R, P, Q]`` as played in streams.
        cost_usd: Likewise, without the cost of deciding.
        latency_ms: Likewise, without the time of deciding; NaN where unknown.
        missing: The number of queries that were left out because an outcome was missing.
        spent_ms: The time of deciding in ms, beyond computing, ``[R, P, Q]``; a single 0 in older files.
        counterfactual_quality: In streams the quality that each candidate would have had, ``[Q, M]``, NaN for one that was not allowed;
            empty for a table, and where it is unknown.
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

    @property
    def is_table(self) -> bool:
        """Whether the outcomes are those of a table, not of streams."""
        return self.quality.ndim == 2

    @property
    def questions(self) -> int | None:
        """The number of different questions of a table; None for streams."""
        return len(np.unique(self.stream)) if self.is_table else None

    @property
    def candidate_quality(self) -> Floats | None:
        """The quality of every candidate, ``[Q, M]``; None if only that of chosen ones is known."""
        if self.is_table:
            return self.quality
        return self.counterfactual_quality if len(self.counterfactual_quality) else None

    def realised(self, router: int) -> Outcomes:
        """Return the outcomes of a router's decisions, ``[P, Q]``; cost and latency include those of deciding."""
        if self.is_table:
            place = (np.arange(len(self.queries)), self.chosen[router])
            quality, cost, latency = self.quality[place], self.cost_usd[place], self.latency_ms[place]
        else:
            quality, cost, latency = self.quality[router], self.cost_usd[router], self.latency_ms[router]
        own_ms = np.broadcast_to(self.spent_ms, self.chosen.shape)[router]
        return Outcomes(quality, cost + self.spent_usd[router], latency + own_ms)

    def growing_waits(self) -> list[str]:
        """Return the routers whose latency still grows within the streams at the headline's preference: longer streams would show more."""
        if self.is_table:
            return []
        streams = int(self.stream.max()) + 1
        latency = self.latency_ms[:, 0].reshape(len(self.routers), -1, streams)  # [R, steps, streams]
        half = latency.shape[1] // 2
        if half < 2 or streams < 2:
            return []
        first, second = latency[:, :half].mean(axis=1), latency[:, -half:].mean(axis=1)
        growth = second - first
        error = growth.std(axis=1, ddof=1) / np.sqrt(streams)
        grows = (growth.mean(axis=1) > GROWTH_ERRORS * error) & (second.mean(axis=1) > (1 + GROWTH) * first.mean(axis=1))
        return [str(name) for name in self.routers[grows]]

    def save(self, path: Path) -> None:
        """Write an npz."""
        arrays = attrs.asdict(self, recurse=False)
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
