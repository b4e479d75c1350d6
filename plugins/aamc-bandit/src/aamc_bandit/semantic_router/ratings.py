"""The state file of vLLM Semantic Router: reads its ratings of ``rl_driven`` as wins and losses.

The file holds each Beta posterior as a rating, 1000 + 1000 x mean, and as the integer parts of alpha - 1 and beta - 1.
The posteriors have the prior Beta(1, 1). Users and sessions are stored as categories: a prefix and the id in base64.
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
"""Maximum relative difference between a posterior and its rating, since ratings are rounded."""
_MAX_RATING = 4000
"""Upper limit of ratings: a posterior's is at most 2000, and Elo ratings stay near 1500 where few candidates compete."""
_MAX_COUNT = 2.0**53
"""Upper limit of counts: above it a float is not exact, and one more outcome changes nothing."""
_DIGITS = 9
"""Decimal places of a win that a rating can represent."""
_PREFIXES = {"_rl_user:": USER, "_rl_session:": SESSION}


@attrs.frozen
class CandidateRating:
    """A candidate's wins and losses, which may be fractions, its number of feedbacks, and how many of them were wins, not ties."""

    wins: float
    losses: float
    feedback: int
    successes: int = 0


def is_ratings(content: Any) -> bool:
    """Return whether a JSON document is a state file of vLLM Semantic Router."""
    return isinstance(content, Mapping) and ("global_ratings" in content or "category_ratings" in content)


def read_ratings(content: Mapping[str, Any]) -> list[tuple[str, str, dict[str, CandidateRating]]]:
    """Return the ratings of a state file of vLLM Semantic Router: level, entity (``""`` at the global level), and ratings by candidate.

    Raises:
        CheckpointError: A rating is invalid, or the id of a user or session cannot be decoded.
    """
    groups = [(GLOBAL, "", content.get("global_ratings") or {})]
    groups += [(*_level_and_entity(key), ratings) for key, ratings in _mapping(content.get("category_ratings") or {}).items()]
    found = [(level, entity, dict(_candidate_ratings(level, ratings))) for level, entity, ratings in groups]
    return [group for group in found if group[-1]]


def _level_and_entity(key: str) -> tuple[str, str]:
    for prefix, level in _PREFIXES.items():
        if key.startswith(prefix):
            encoded = key.removeprefix(prefix)
            try:
                return level, base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True).decode()
            except (binascii.Error, UnicodeDecodeError) as error:
                raise CheckpointError(f"{key!r} does not encode the id of a {level}: {error}") from error
    return CATEGORY, key


def _candidate_ratings(level: str, ratings: Any) -> Iterator[tuple[str, CandidateRating]]:
    for model, rating in _mapping(ratings).items():
        if rating is None:
            continue
        figures = {key: _number(rating, key, model) for key in ("rating", "comparisons", "wins", "losses", "ties")}
        if figures["rating"] > _MAX_RATING:
            raise CheckpointError(f"rating of {model!r} must be at most {_MAX_RATING}, not {figures['rating']:g}")
        if max(figures.values()) > _MAX_COUNT:
            raise CheckpointError(f"counts of {model!r} must be at most 2**53, not {max(figures.values()):g}")
        yield model, _candidate_rating(figures, of_session=level == SESSION)


def _candidate_rating(figures: Mapping[str, float], of_session: bool) -> CandidateRating:
    """Return the wins and losses of a rating: exact where one of them is an integer, else the minimum that the rating allows.

    A tie is half a win and half a loss. A rating that is a posterior's mean already contains its ties, and such files count none.
    """
    wins, losses, ties = (figures[key] for key in ("wins", "losses", "ties"))
    feedback = int(max(figures["comparisons"], wins + losses + ties))
    successes, mean = int(wins), (figures["rating"] - 1000) / 1000
    if not (of_session or ties) and 0 < mean < 1:
        total = max((wins + 1) / mean, (losses + 1) / (1 - mean))  # alpha + beta
        alpha, beta = mean * total, (1 - mean) * total
        slack = _ROUNDING * total
        if alpha < wins + 2 + slack and beta < losses + 2 + slack:  # the rating belongs to this posterior; else it is an Elo rating
            return CandidateRating(round(max(alpha - 1, wins), _DIGITS), round(max(beta - 1, losses), _DIGITS), feedback, successes)
    return CandidateRating(wins + ties / 2, losses + ties / 2, feedback, successes)


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise CheckpointError(f"ratings must be keys and values, not {value!r:.80}")
    return value


def _number(rating: Any, key: str, model: str) -> float:
    value = _mapping(rating).get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise CheckpointError(f"{key} of {model!r} must be a finite number of at least 0, not {value!r}")
    return float(value)
