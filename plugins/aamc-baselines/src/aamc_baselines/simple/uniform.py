"""The floor: a router that does not look."""

from __future__ import annotations

import attrs
import numpy as np

from aamc_sdk.batch import RoutingRequest, Scores
from aamc_sdk.config import option
from aamc_sdk.interfaces import Router


@attrs.frozen(kw_only=True)
class Options:
    """Options of ``random``."""

    sample: bool = option(True, "draw among the allowed candidates; false takes the first of them")


class Random(Router):
    """Any allowed candidate, each with the same, known probability."""

    Config = Options
    uses_preference = False

    def score(self, request: RoutingRequest) -> Scores:
        """Score all alike."""
        allowed = np.maximum(request.mask.sum(axis=1, keepdims=True), 1)
        return Scores(np.zeros(request.mask.shape), probabilities=request.mask / allowed)
