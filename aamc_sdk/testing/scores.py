"""The scores of routers: the request of the checks, and what any scores must be."""

from __future__ import annotations

import numpy as np

from aamc_sdk.errors import PluginError, StoreError
from aamc_sdk.log.json_text import check_plain
from aamc_sdk.routing.draw import check_spent
from aamc_sdk.testing.findings import require
from aamc_sdk.testing.subject import Subject, equal
from aamc_sdk.testing.world import POOL, make_request
from aamc_sdk.types import Pool, RoutingRequest, Scores


def request_of(subject: Subject, pool: Pool = POOL) -> RoutingRequest:
    """Return a request of the test rows, with hindsight for a privileged router."""
    return make_request(subject.test_set, pool, hindsight=subject.target.privileged)


def same_scores(left: Scores, right: Scores, tolerance: float = 1e-6) -> bool:
    """Return whether two scores have equal utilities and probabilities."""
    return equal(left.utility, right.utility, tolerance) and equal(left.probabilities, right.probabilities, tolerance)


def require_scores(scores: Scores, request: RoutingRequest) -> None:
    """Raise AssertionError unless scores have one row a query, one column a candidate, and values in their ranges."""
    rows, shape = len(request), request.mask.shape
    require(isinstance(scores, Scores), f"score must return aamc_sdk.Scores, not {type(scores).__name__}")
    for name in ("utility", "probabilities", "expected_quality"):
        array = getattr(scores, name)
        is_real = isinstance(array, np.ndarray) and array.dtype.kind in "fiub"
        require(is_real or (array is None and name != "utility"), f"{name} must be a numpy array of real numbers, not {array!r:.80}")
    require(np.shape(scores.utility) == shape, f"utility must be {shape}, not {np.shape(scores.utility)}")
    require(not np.isnan(scores.utility[request.mask]).any(), "utility is NaN for an allowed candidate")
    if scores.probabilities is not None:
        require(np.shape(scores.probabilities) == shape, f"probabilities must be {shape}, not {np.shape(scores.probabilities)}")
        require((scores.probabilities >= 0).all(), "probabilities must not be negative or NaN")
        allowed = np.where(request.mask, scores.probabilities, 0.0).sum(axis=1)
        require((allowed > 0).all(), "probabilities must be positive for at least one allowed candidate")
    if scores.expected_quality is not None:
        require(np.shape(scores.expected_quality) == shape, f"expected_quality must be {shape}, not {np.shape(scores.expected_quality)}")
        known = scores.expected_quality[~np.isnan(scores.expected_quality)]
        require(((known >= 0) & (known <= 1)).all(), "expected_quality must lie in 0 to 1, or be NaN where unknown")
    for name in ("spent_usd", "spent_ms"):
        try:
            check_spent(name, getattr(scores, name), rows)
        except PluginError as error:
            raise AssertionError(str(error)) from error
    require(len(scores.notes) in (0, rows), f"notes must be empty or one a row, not {len(scores.notes)} for {rows} rows")
    for note in scores.notes:
        try:
            check_plain(note)
        except StoreError as error:
            raise AssertionError(f"the log cannot keep a note: {error}") from error
