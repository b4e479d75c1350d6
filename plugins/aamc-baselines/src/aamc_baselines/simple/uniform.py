"""The router ``random``: a uniform choice, as a lower bound."""

from __future__ import annotations

import attrs
import numpy as np

from aamc_sdk.config import option
from aamc_sdk.interfaces import Router
from aamc_sdk.types import RoutingRequest, Scores


@attrs.frozen(kw_only=True)
class Options:
    """Options of ``random``."""

    sample: bool = option(True, "Sample from the allowed candidates; false chooses the first of them.")


class Random(Router):
    """Any allowed candidate, with equal and known probability."""

    Config = Options
    uses_preference = False
    uses_estimates = False

    def score(self, request: RoutingRequest) -> Scores:
        """Give all candidates the same score."""
        allowed = np.maximum(request.mask.sum(axis=1, keepdims=True), 1)
        return Scores(np.zeros(request.mask.shape), probabilities=request.mask / allowed)
