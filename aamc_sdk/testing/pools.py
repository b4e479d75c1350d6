"""Checks of model pools."""

from __future__ import annotations

import numpy as np

from aamc_sdk.routing import build_request, encode_candidates, pool_from, pool_to
from aamc_sdk.testing.findings import checks_in, require
from aamc_sdk.testing.subject import Subject
from aamc_sdk.types import Pool, Preference, Query


def check_it_is_a_pool(subject: Subject) -> None:
    """The target, called without arguments, returns the same pool each time."""
    pool = subject.target()
    require(isinstance(pool, Pool), f"the target must return aamc_sdk.Pool, not {type(pool).__name__}")
    require(pool == subject.target(), "two calls return two different pools")


def check_candidates_are_described(subject: Subject) -> None:
    """Every candidate has a description and prices, the features of policies."""
    for candidate in subject.target():
        require(candidate.description, f"candidate {candidate.name!r} has no description")
        require(getattr(candidate, "prices", None) is not None, f"candidate {candidate.name!r} has no prices, so its cost is unknown")


def check_it_can_be_written_and_read(subject: Subject) -> None:
    """The pool is the same after writing and reading a pool file."""
    pool = subject.target()
    require(pool_from(pool_to(pool), subject.name) == pool, "the pool changes when it is written and read")


def check_a_request_is_routable(subject: Subject) -> None:
    """A plain request has finite features and at least one allowed candidate."""
    pool = subject.target()
    request = build_request([Query("Good morning")], pool, Preference().array)
    request.check_mask()
    require(np.isfinite(encode_candidates(pool)).all(), "the candidates' features must be finite")


CHECKS = checks_in(__name__)
