"""The lines of an interactions file, in both forms, as rated answers.

Form 1, a line a user: ``{"user_id", "interactions": [{"query", "model_used", "user_feedback", "timestamp"}], "preferred_models", "context"}``.
Form 2, a line an answer (GMTRouter's published data): ``{"judge", "model", "question_id", "turn", "conversation": [{"query", "response",
"rating"}]}``; other keys, such as precomputed embeddings, are ignored.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
from aamc_datasets.json_rows import refuse_misspelt, require, text

from aamc_sdk.errors import DataError
from aamc_sdk.messages import one_of
from aamc_sdk.types import check_text

WORDS = {"positive": 1.0, "neutral": 0.5, "negative": 0.0}
"""Ratings in words."""


@attrs.frozen
class RatedAnswer:
    """One answer and its rating.

    Attributes:
        where: The file and the line, for error messages.
        session: The conversation.
        rating: A number on the file's scale, or from 0 to 1 for one in words.
        in_words: Whether the rating is in words.
        time: Seconds since the epoch; NaN if missing.
        earlier: Queries and answers before it in the conversation.
        judged: Whether the line has form 2.
    """

    where: str
    user: str
    session: str
    query: str
    model: str
    rating: float
    in_words: bool
    time: float
    earlier: tuple[tuple[str, str], ...] = ()
    judged: bool = False


@attrs.frozen
class UserProfile:
    """A user's own description: a context and preferred models."""

    context: str = ""
    preferred: tuple[str, ...] = ()


def user_line(row: Any, where: str) -> tuple[str, UserProfile, list[RatedAnswer]]:
    """Return user, profile and rated answers of a line in form 1.

    Raises:
        DataError: A key is missing or a value cannot be used.
    """
    require(row, ("user_id",), "; give user_id and interactions, or judge, model and conversation")
    refuse_misspelt(row, ("user_id", "interactions", "preferred_models", "context"))
    user = _identifier(row, "user_id")
    items = row.get("interactions")
    if not isinstance(items, list):
        raise DataError(f"'interactions' of user {user!r} must be a list, not {items!r:.80}; give [] for a user without any")
    answers = [_interaction(item, user, where, number) for number, item in enumerate(items, start=1)]
    preferred, context = row.get("preferred_models") or [], row.get("context") or ""
    if not isinstance(preferred, list) or not all(isinstance(name, str) and name for name in preferred):
        raise DataError(f"'preferred_models' must be a list of model names, not {preferred!r:.80}")
    check_text(context, "'context'")
    for name in preferred:
        check_text(name, "a model in 'preferred_models'")
    return user, UserProfile(context.strip(), tuple(dict.fromkeys(preferred))), answers


def _interaction(item: Any, user: str, where: str, number: int) -> RatedAnswer:
    try:
        require(item, ("query", "model_used", "user_feedback"))
        refuse_misspelt(item, ("query", "model_used", "user_feedback", "timestamp", "tstamp", "session"))
        rating, in_words = _rating(item, "user_feedback")
        return RatedAnswer(where, user, str(item.get("session") or ""), text(item, "query"), text(item, "model_used"), rating, in_words, _time(item))
    except DataError as error:
        raise DataError(f"interaction {number}: {error}") from error


def answer_line(row: Mapping[str, Any], where: str) -> Iterator[RatedAnswer]:
    """Yield the rated answers of a line in form 2, one for each exchange of the conversation.

    Raises:
        DataError: A key is missing or a value cannot be used.
    """
    require(row, ("judge", "model", "question_id"))
    user, model, question = _identifier(row, "judge"), text(row, "model"), _identifier(row, "question_id")
    conversation, turn = row.get("conversation"), row.get("turn", 0)
    if not isinstance(conversation, list) or not conversation:
        raise DataError(f"'conversation' must be a list with at least one exchange, not {conversation!r:.80}")
    earlier: list[tuple[str, str]] = []
    for number, exchange in enumerate(conversation, start=1):
        try:
            require(exchange, ("query", "rating"))
            rating, in_words = _rating(exchange, "rating")
            query, response = text(exchange, "query"), exchange.get("response")
            yield RatedAnswer(where, user, f"{question}/{turn}", query, model, rating, in_words, _time(row), tuple(earlier), judged=True)
        except DataError as error:
            raise DataError(f"exchange {number}: {error}") from error
        earlier.append((query, response if isinstance(response, str) else ""))


def _identifier(row: Mapping[str, Any], key: str) -> str:
    """Return a name, which may be a text or an integer."""
    value = row[key]
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise DataError(f"{key!r} must be a name, not {value!r:.80}")
    return str(value)


def _rating(row: Mapping[str, Any], key: str) -> tuple[float, bool]:
    value = row.get(key)
    if isinstance(value, str) and value in WORDS:
        return WORDS[value], True
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        raise DataError(f"{key!r} must be a finite number or one of {one_of(WORDS)}, not {value!r:.80}")
    return float(value), False


def _time(row: Mapping[str, Any]) -> float:
    value = row.get("timestamp", row.get("tstamp"))
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= sys.float_info.max:
        raise DataError(f"'timestamp' must be seconds since the epoch, not {value!r:.80}; leave it out if it is unknown")
    return float(value)
