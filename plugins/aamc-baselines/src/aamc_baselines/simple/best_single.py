"""The router ``best-single``: the best choice that ignores the query."""

from __future__ import annotations

import numpy as np

from aamc_baselines.simple.means import MeansRouter
from aamc_sdk import Requirements
from aamc_sdk.errors import EstimatesError
from aamc_sdk.types import Outcomes, RoutingRequest, Scores


class BestSingle(MeansRouter):
    """The candidate with the maximum mean training reward under each request's preference.

    A candidate without training outcomes ranks below all others.
    """

    requires = Requirements(training=True, cheap_rescoring=True)
    uses_estimates = False

    def score(self, request: RoutingRequest) -> Scores:
        """Return each candidate's mean reward under the preferences.

        Raises:
            EstimatesError: The router has no training outcomes of these candidates.
        """
        quality, cost, latency = self.means.by_candidate(request.pool).T
        known = np.isfinite(quality)
        if not known.any():
            raise EstimatesError("best-single has no mean reward of any candidate in this pool; train it on outcomes of these candidates")
        typical = Outcomes(*(np.tile(values[known], (len(request), 1)) for values in (quality, cost, latency)))
        utility = np.empty((len(request), len(request.pool)))
        utility[:, known] = self.services.reward.scalar(typical, request.preferences)
        utility[:, ~known] = utility[:, known].min(axis=1, keepdims=True) - 1.0
        return Scores(utility)
