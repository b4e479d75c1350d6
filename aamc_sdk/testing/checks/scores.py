"""The scores of routers: the request of the checks, and what any scores must be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aamc_sdk.errors import PluginError, StoreError
from aamc_sdk.log.rows.json_text import check_plain
from aamc_sdk.routing import draw
from aamc_sdk.testing.findings import require, require_type
from aamc_sdk.testing.sample_data import POOL, make_request
from aamc_sdk.testing.subject import Subject, equal
from aamc_sdk.types import Pool, RoutingRequest, Scores


def request_of(subject: Subject, pool: Pool = POOL) -> RoutingRequest:
    """Return a request of the test rows, with hindsight for a privileged router."""
    return make_request(subject.test_set, pool, hindsight=subject.target.privileged)


def same_scores(left: Scores, right: Scores, tolerance: float = 1e-6) -> bool:
    """Return whether two scores have equal utilities and probabilities."""
    return equal(left.utility, right.utility, tolerance) and equal(left.probabilities, right.probabilities, tolerance)


def chosen_of(scores: Scores, request: RoutingRequest, sample: bool) -> NDArray[np.intp]:
    """Return the position of the candidate that the core draws for each row."""
    return draw(scores, request, sample, 0, [str(row) for row in range(len(request))]).chosen


def require_scores(scores: Scores, request: RoutingRequest) -> None:
    """Raise AssertionError unless the core can draw from the scores and log them, and the numbers are in their ranges."""
    require_type(scores, Scores, "score must return aamc_sdk.Scores")
    rows, quality = len(request), scores.expected_quality
    try:
        for sample in (False, True):
            chosen_of(scores, request, sample)
        for note in scores.notes:
            check_plain(note)
    except PluginError as error:
        raise AssertionError(str(error)) from error
    except StoreError as error:
        raise AssertionError(f"the log cannot keep a note: {error}") from error
    require(scores.probabilities is None or (scores.probabilities >= 0).all(), "probabilities must not be negative or NaN")
    within = quality is None or (np.isnan(quality) | ((quality >= 0) & (quality <= 1))).all()
    require(within, "expected_quality must lie in 0 to 1, or be NaN where unknown")
    require(len(scores.notes) in (0, rows), f"notes must be empty or one a row, not {len(scores.notes)} for {rows} rows")
