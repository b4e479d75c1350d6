"""The minimum quality of a request."""

from __future__ import annotations

import attrs
import numpy as np

from aamc_sdk.routing.arguments import check_floor
from aamc_sdk.types import RoutingRequest, Scores


def above_floor(request: RoutingRequest, scores: Scores, quality_floor: float) -> RoutingRequest:
    """Return a request where candidates below a minimum quality are masked, by the router's own prediction if it has one, else by the estimator's.

    Rows where no allowed candidate reaches it keep the best one; rows without any prediction stay as they are.

    Raises:
        DataError: The minimum is not a number from 0 to 1.
    """
    check_floor(quality_floor)
    quality = request.expected.quality if scores.expected_quality is None else scores.expected_quality
    if quality is None:
        return request
    known = np.where(request.mask & ~np.isnan(quality), quality, -np.inf)
    best = known.max(axis=1, keepdims=True)
    low = request.mask & (known < np.minimum(best, quality_floor))
    return attrs.evolve(request, mask=request.mask & ~low, masked_why={**request.masked_why, f"expected quality below {quality_floor:g}": low})
