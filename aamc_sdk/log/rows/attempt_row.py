"""Attempts as rows of the log."""

from __future__ import annotations

import time

import attrs

from aamc_sdk.log.json_text import encode, nan_if_null, null_if_unknown
from aamc_sdk.log.rows.row import ATTEMPT, Row, columns_from
from aamc_sdk.types import Attempt, Feedback, new_ids
from aamc_sdk.types.decisions import default_cost_source, default_status

_FIELDS = tuple(field.name for field in attrs.fields(Attempt))
_FIGURES = ("cost_usd", "latency_ms", "first_token_ms")
_LATER_FIELDS = ("first_token_ms", "prompt_tokens", "cached_tokens", "reasoning_tokens")
"""Fields of an attempt that version 0.1 did not have; left out where they are unknown."""
_CALL_KEYS = ("feedback", "call")
"""Keys of an attempt's JSON besides its fields: the feedback that it came with, or the random id of an attempt without a number of its own."""


def attempt_row(attempt: Attempt, *, feedback_id: str | None = None, call_id: str | None = None) -> Row:
    """Return an attempt as it is kept.

    Args:
        attempt: The attempt; its number may be None, the log's rules then give it one.
        feedback_id: The feedback that it came with; its id is made of this one, and so is never a caller's.
        call_id: The random id of an attempt without a number; by default a new one where there is no number and no feedback.
    """
    if attempt.n is None and feedback_id is None and call_id is None:
        (call_id,) = new_ids(1)
    fields = {name: getattr(attempt, name) for name in _FIELDS}
    for name in _FIGURES:
        fields[name] = null_if_unknown(fields[name])
    for name in _LATER_FIELDS:
        if fields[name] is None:
            del fields[name]
    for name, default in (("status", default_status(fields["error"])), ("cost_source", default_cost_source(fields["cost_usd"]))):
        if fields[name] == default:
            del fields[name]
    own = str(attempt.n)
    for name, key in zip(_CALL_KEYS, (feedback_id, call_id), strict=True):
        if key is not None:
            fields[name] = key
            own = f"{name}/{key}"
    return Row(
        kind=ATTEMPT,
        id=f"{attempt.decision_id}/{own}",
        decision_id=attempt.decision_id,
        candidate=attempt.candidate,
        content=encode(fields),
        time=time.time(),
        columns=columns_from(ATTEMPT, fields),
    )


def feedback_attempt_id(feedback: Feedback) -> str:
    """Return the row's id of the attempt that comes with a piece of feedback."""
    return f"{feedback.decision_id}/feedback/{feedback.id}"


def numbered(row: Row, n: int) -> Row:
    """Return an attempt's row with a number."""
    fields = row.fields | {"n": n}
    return attrs.evolve(row, content=encode(fields), columns=columns_from(ATTEMPT, fields))


def attempt_from(row: Row) -> Attempt:
    """Return the attempt that a row keeps, with the candidate that was called."""
    saved = {name: value for name, value in row.fields.items() if name not in _CALL_KEYS}
    figures = {name: nan_if_null(saved.get(name)) for name in _FIGURES}
    return Attempt(**saved | figures | {"candidate": row.candidate})


def same_attempt(left: Row, right: Row) -> bool:
    """Return whether two rows keep the same call, reported by itself or with feedback."""
    first, second = ({name: value for name, value in row.fields.items() if name not in _CALL_KEYS} for row in (left, right))
    return first == second
