"""The state file of vLLM Semantic Router: what it keeps of ``rl_driven`` as ratings, as wins and losses again.

It writes each Beta posterior as a rating, 1000 + 1000 x mean, with the whole parts of alpha - 1
and beta - 1 beside it. Users and sessions stand among the categories, under a prefix and their
id in base64. Its posteriors have the prior Beta(1, 1).
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from aamc_sdk.errors import CheckpointError

GLOBAL, CATEGORY, USER, SESSION = "global", "category", "user", "session"
_ROUNDING = 1e-9
"""How far a posterior may be from its rating, as a share of it, since ratings are rounded."""
_GREATEST_RATING = 4000
"""No rating comes near it: a posterior's is at most 2000, and Elo's stay near 1500 where few candidates play each other."""
_DIGITS = 9
"""Digits of a win that a rating can tell, after the point."""
_PREFIXES = {"_rl_user:": USER, "_rl_session:": SESSION}


@attrs.frozen
class Tally:
    """What is known of a candidate: its wins and losses, which may be fractions, and from how many pieces of feedback."""

    wins: float
    losses: float
    feedback: int


@attrs.frozen
class Rated:
    """A level's name, whose it is (``""`` at the global one) and the candidates' tallies by name."""

    level: str
    whose: str
    tallies: Mapping[str, Tally]


def is_ratings(content: Any) -> bool:
    """Whether a JSON document is a state file of vLLM Semantic Router."""
    return isinstance(content, Mapping) and ("global_ratings" in content or "category_ratings" in content)


def read_ratings(content: Mapping[str, Any]) -> list[Rated]:
    """Return what a state file of vLLM Semantic Router holds.

    Raises:
        CheckpointError: A rating is none, or a user's or session's id cannot be read.
    """
    groups = [(GLOBAL, "", content.get("global_ratings") or {})]
    groups += [(*_whose(key), ratings) for key, ratings in _mapping(content.get("category_ratings") or {}).items()]
    rated = [Rated(level, whose, dict(_tallies(level, ratings))) for level, whose, ratings in groups]
    return [group for group in rated if group.tallies]


def _whose(key: str) -> tuple[str, str]:
    for prefix, level in _PREFIXES.items():
        if key.startswith(prefix):
            encoded = key.removeprefix(prefix)
            try:
                return level, base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True).decode()
            except (binascii.Error, UnicodeDecodeError) as error:
                raise CheckpointError(f"{key!r} is no {level} of a state file: {error}") from error
    return CATEGORY, key


def _tallies(level: str, ratings: Any) -> Iterator[tuple[str, Tally]]:
    for model, rating in _mapping(ratings).items():
        if rating is None:
            continue
        figures = {key: _number(rating, key, model) for key in ("rating", "comparisons", "wins", "losses", "ties")}
        if figures["rating"] > _GREATEST_RATING:
            raise CheckpointError(f"rating of {model!r} must be at most {_GREATEST_RATING}, not {figures['rating']:g}")
        yield model, _tally(figures, of_session=level == SESSION)


def _tally(figures: Mapping[str, float], of_session: bool) -> Tally:
    """Return the wins and losses behind a rating: exactly where one of them is whole, else as few as the rating allows."""
    wins, losses, ties = (figures[key] for key in ("wins", "losses", "ties"))
    feedback = int(max(figures["comparisons"], wins + losses + ties))
    mean = (figures["rating"] - 1000) / 1000
    if not of_session and 0 < mean < 1:
        total = max((wins + 1) / mean, (losses + 1) / (1 - mean))  # alpha + beta
        alpha, beta = mean * total, (1 - mean) * total
        slack = _ROUNDING * total
        if alpha < wins + 2 + slack and beta < losses + 2 + slack:  # the rating is of this posterior, not an Elo rating
            return Tally(round(max(alpha - 1, wins), _DIGITS), round(max(beta - 1, losses), _DIGITS), feedback)
    return Tally(wins + ties / 2, losses + ties / 2, feedback)


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise CheckpointError(f"ratings must be keys and values, not {value!r:.80}")
    return value


def _number(rating: Any, key: str, model: str) -> float:
    value = _mapping(rating).get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise CheckpointError(f"{key} of {model!r} must be a finite number of at least 0, not {value!r}")
    return float(value)
