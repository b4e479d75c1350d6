"""What a comparison recorded: the file that every reported number is computed from.

R routers, P = 43 preferences, Q queries, M candidates. Queries of a simulation are played in
streams, and each router meets its own waiting times there; a table has one outcome for each
query and candidate, whoever asks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.errors import CheckpointError
from aamc_sdk.storage import read_arrays, write_arrays
from aamc_sdk.types import Floats, Outcomes

Names = NDArray[np.str_]
Integers = NDArray[np.integer[Any]]
"""An array of integers."""


@attrs.frozen(eq=False, kw_only=True)
class Comparison:
    """The decisions of R routers, and what came of them; each attribute is an array of ``decisions.npz``.

    Attributes:
        routers: Names, ``[R]``.
        preferences: Row 0 is the headline's, 1 to 21 the sweep, 22 to 42 the lattice, ``[P, 3]``.
        queries: SHA-256 of each text, ``[Q]``.
        category: The dataset's category, else the predicted one, ``[Q]``.
        candidates: Names, ``[M]``.
        candidate_means: Training means of quality, cost in USD, latency in ms, ``[M, 3]``.
        scales: Least and greatest of cost and latency in the default reward, ``[2, 2]``; NaN in another.
        chosen: The candidate's position, ``[R, P, Q]``.
        spent_usd: What deciding itself cost, ``[R, P, Q]``.
        expected_quality: What the router expected at (1, 0, 0), ``[R, Q, M]``; NaN where it does not say.
        utility: Its scores at (1, 0, 0), ``[R, Q, M]``.
        stream: Which stream a query was played in, the unit of resampling, ``[Q]``; in a table its row.
        quality: ``[Q, M]`` of a table, ``[R, P, Q]`` as played in streams.
        cost_usd: Likewise, without what deciding cost.
        latency_ms: Likewise, NaN where it is not known; without how long deciding took.
        missing: Queries left out because an outcome was missing.
        spent_ms: How long deciding itself took beyond computing, ``[R, P, Q]``; one 0 in files from before it was kept.
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

    @property
    def is_table(self) -> bool:
        """Whether outcomes are those of a table, rather than of streams that each router played."""
        return self.quality.ndim == 2

    def realised(self, router: int) -> Outcomes:
        """Return what came of a router's decisions, ``[P, Q]``; cost and latency include those of deciding."""
        if self.is_table:
            place = (np.arange(len(self.queries)), self.chosen[router])
            quality, cost, latency = self.quality[place], self.cost_usd[place], self.latency_ms[place]
        else:
            quality, cost, latency = self.quality[router], self.cost_usd[router], self.latency_ms[router]
        own_ms = np.broadcast_to(self.spent_ms, self.chosen.shape)[router]
        return Outcomes(quality, cost + self.spent_usd[router], latency + own_ms)

    def save(self, path: Path) -> None:
        """Write an npz."""
        write_arrays(path, attrs.asdict(self, recurse=False))

    @classmethod
    def load(cls, path: Path) -> Comparison:
        """Read what :meth:`save` wrote.

        Raises:
            CheckpointError: It is missing, damaged, or some other npz.
        """
        arrays = read_arrays(path)
        lacking = [field.name for field in attrs.fields(cls) if field.default is attrs.NOTHING and field.name not in arrays]
        if lacking:
            raise CheckpointError(f"{path} is not a comparison: it lacks {', '.join(lacking)}; evaluate again")
        return cls(**{field.name: arrays[field.name] for field in attrs.fields(cls) if field.name in arrays})
