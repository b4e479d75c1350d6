"""The request of a comparison: the routers, the rows that they decide, and the preferences that they decide at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import numpy as np

from aamc_experiments.evaluation.decisions.comparison import Integers, Names
from aamc_experiments.evaluation.decisions.preferences import evaluation_points, latency_counts
from aamc_sdk.interfaces import NoProgress, Progress, Reward, Router
from aamc_sdk.types import Floats, Outcomes, Preference, RoutingRequest


@attrs.frozen(kw_only=True, eq=False)
class ComparisonRequest:
    """The request of a comparison of R routers on Q rows.

    Attributes:
        routers: The routers by name.
        request: The rows as a router sees them.
        reward: The reward that the routers were trained for.
        headline: The preference of the headline figures.
        seed: The seed of draws and streams.
        categories: The category of each row, ``[Q]``; ``""`` for none.
        candidate_means: The candidates' mean training quality, cost in USD and latency in ms, ``[M, 3]``.
        preferences: The preferences to compare at, ``[P, 3]``; None for the usual 43, see :func:`evaluation_points`.
        progress: Receives the progress.
        stage: The name of the comparison in the progress.
    """

    routers: Mapping[str, Router]
    request: RoutingRequest
    reward: Reward
    headline: Preference
    seed: int
    categories: Sequence[str] | Names
    candidate_means: Floats
    preferences: Floats | None = None
    progress: Progress = attrs.field(factory=NoProgress)
    stage: str = "Comparing"

    def points(self, outcomes: Outcomes | None = None) -> Floats:
        """Return the preferences to compare at, ``[P, 3]``.

        Args:
            outcomes: The outcomes of the rows, if known beforehand; they tell whether latency is known.

        Raises:
            PreferenceError: The headline preference weighs only latency, which is not known.
        """
        if self.preferences is not None:
            return self.preferences
        return evaluation_points(self.headline, latency_counts(self.reward, outcomes))

    def categories_of(self, rows: Integers) -> Names:
        """Return the categories of some rows."""
        return np.asarray(self.categories, dtype=np.str_)[rows]
