"""The routers ``greedy`` and ``oracle``: the maximum utility of the expected and of the true outcomes."""

from __future__ import annotations

import numpy as np

from aamc_sdk import Requirements
from aamc_sdk.errors import EstimatesError
from aamc_sdk.interfaces import Router
from aamc_sdk.types import RoutingRequest, Scores


class Greedy(Router):
    """The maximum expected utility, with the estimator's quality in the reward; learns nothing itself."""

    requires = Requirements(estimator=True, outcomes=True, cheap_rescoring=True)

    def score(self, request: RoutingRequest) -> Scores:
        """Return the expected utility.

        Raises:
            EstimatesError: There is no expected quality.
        """
        if np.isnan(request.expected.known_quality).any():
            raise EstimatesError(
                "greedy needs each candidate's expected quality, and there is none; use an estimator trained on outcomes (--estimator tce)"
            )
        return Scores(self.services.reward.scalar(request.expected, request.preferences))


class Oracle(Router):
    """The maximum utility in hindsight. Under load it is myopic: it ignores the requests that wait behind one."""

    privileged = True

    def score(self, request: RoutingRequest) -> Scores:
        """Return the utility of the true outcomes.

        Raises:
            EstimatesError: The true outcomes are unknown, as in production.
        """
        if request.hindsight is None:
            raise EstimatesError("oracle needs the outcomes in advance, which only an evaluation knows; choose another router")
        utility = self.services.reward.scalar(request.hindsight, request.preferences)
        return Scores(utility, expected_quality=request.hindsight.known_quality)
