"""The log as JSON Lines, one entry a line: how it leaves a store and comes into another.

{"decision": {...}}     as the log keeps it, its time and embedding beside it
{"attempt": {...}}      the fields of Attempt; "feedback" names the feedback that it came with
{"feedback": {...}}     the fields of Feedback; an "attempt" beside it is the call that came with it, which the log numbers
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, TypeVar

import attrs

from aamc_sdk.errors import AamcError, DataError, nearest, one_of
from aamc_sdk.log.rows import ATTEMPT, DECISION, FEEDBACK, Row, attempt_row, feedback_row, record_from
from aamc_sdk.types import Attempt, Decision, Feedback, Preference, Query

T = TypeVar("T")
_SECTIONS = ("decision", "query", "estimates", "expected", "masked_why")
"""What a decision's entry has, each as keys and values."""
Judgement = tuple[Feedback, Attempt | None]
"""Feedback, and the call that came with it."""
Entry = Row | Judgement
"""What can be added to a log: an entry as it is kept, or feedback with a call that has no number yet."""


def line_of(entry: Entry) -> str:
    """Return an entry as one line of JSON."""
    if isinstance(entry, Row):
        told: dict[str, Any] = dict(entry.fields)
        if entry.kind != ATTEMPT:
            told["time"] = entry.time
        if entry.embedding is not None:
            told["embedding"] = base64.b64encode(entry.embedding).decode()
        return json.dumps({entry.kind: told})
    feedback, attempt = entry
    called = None if attempt is None else attempt_row(attempt).fields
    return json.dumps({FEEDBACK: feedback_row(feedback).fields | {"time": feedback.time}, ATTEMPT: called})


def entry_of(line: str | bytes) -> Entry:
    """Return the entry that a line tells; bytes are UTF-8.

    Raises:
        DataError: It tells none, or one with a value that cannot be.
    """
    try:
        told = json.loads(line if isinstance(line, str) else line.decode(), parse_constant=_refuse)
        if not isinstance(told, dict) or not all(isinstance(value, dict | None) for value in told.values()):
            raise DataError("it is no JSON object of objects")
        return _entry(told)
    except (AamcError, binascii.Error, KeyError, TypeError, ValueError, RecursionError) as error:
        why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise DataError(f'no entry of a log: {why}; a line is {{"decision": ...}}, {{"attempt": ...}} or {{"feedback": ...}}') from error


def _refuse(name: str) -> None:
    raise DataError(f"{name} is no number in JSON")


def _entry(told: dict[str, Any]) -> Entry:
    unknown = set(told) - {DECISION, ATTEMPT, FEEDBACK}
    if unknown or not (len(told) == 1 or set(told) == {FEEDBACK, ATTEMPT}):
        raise DataError(f"it tells {', '.join(sorted(told)) or 'nothing'}")
    if DECISION in told:
        return _decision(told[DECISION])
    if FEEDBACK not in told:
        came_with = told[ATTEMPT].get("feedback")
        return attempt_row(_attempt(told[ATTEMPT]), came_with)
    feedback = _made(Feedback, told[FEEDBACK], FEEDBACK)
    called = told.get(ATTEMPT)
    return (feedback, _attempt(called)) if called else feedback_row(feedback)


def _attempt(told: dict[str, Any]) -> Attempt:
    """Return an attempt; figures that are null are not known."""
    return _made(Attempt, {name: value for name, value in told.items() if name != "feedback" and value is not None}, ATTEMPT)


def _decision(told: dict[str, Any]) -> Row:
    """Return a decision's row, if a record can be read from it as whatever reads the log later will."""
    _check_decision(told)
    content = {name: value for name, value in told.items() if name not in ("time", "embedding")}
    embedding = base64.b64decode(told["embedding"], validate=True) if told.get("embedding") else None
    decision = content["decision"]
    row = Row(DECISION, decision["id"], decision["id"], decision["candidate"], json.dumps(content), told["time"], embedding)
    record_from(row)
    return row


def _check_decision(told: Mapping[str, Any]) -> None:
    """Check that a decision's entry has all its parts, and figures of every candidate."""
    for name in _SECTIONS:
        if not isinstance(told[name], Mapping):
            raise DataError(f"a decision's {name} must be keys and values, not {told[name]!r:.80}")
    decision, candidates, expected = told["decision"], told["candidates"], told["expected"]
    _check_fields(Decision, decision, DECISION)
    _check_fields(Query, told["query"], "query")
    Preference.of(decision["preference"])
    chosen = decision["candidate"]
    if not isinstance(candidates, list) or chosen not in candidates:
        raise DataError(f"a decision's candidates must be a list of names, {chosen!r} among them, not {candidates!r:.80}")
    figures = {"wait_ms": told["wait_ms"], "cost_usd": expected["cost_usd"], "latency_ms": expected["latency_ms"]}
    if expected["quality"] is not None:
        figures["quality"] = expected["quality"]
    for name, values in figures.items():
        if not isinstance(values, list) or len(values) != len(candidates) or not all(isinstance(value, int | float | None) for value in values):
            raise DataError(f"a decision's {name} must be {len(candidates)} numbers, one a candidate, not {values!r:.80}")


def _made(cls: type[T], told: Mapping[str, Any], what: str) -> T:
    """Return what fields make, which checks their values itself."""
    _check_fields(cls, told, what)
    return cls(**told)


def _check_fields(cls: type[Any], told: Mapping[str, Any], what: str) -> None:
    fields = {field.name: field for field in attrs.fields(cls)}
    for name in told:
        if name not in fields:
            raise DataError(f"{what} has no field {name!r}{nearest(name, fields)} (it has {one_of(fields)})")
    for name, field in fields.items():
        if field.default is attrs.NOTHING and name not in told:
            raise DataError(f"{what} must have the field {name!r}")
