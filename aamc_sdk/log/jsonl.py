"""The log as JSON Lines, one entry a line: the format of export and import.

{"decision": {...}}     the entry as the log keeps it, with time, embedding and the request's fingerprint
{"attempt": {...}}      the fields of Attempt; "feedback" is the id of feedback that it came with, "call" the random id of an attempt without a number
{"feedback": {...}}     the fields of Feedback; an "attempt" in the same line came with it, and the log numbers it
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import attrs
import msgspec

from aamc_sdk.errors import AamcError, DataError
from aamc_sdk.log.rows.decision_row import parsed_record
from aamc_sdk.log.rows.json_text import encode
from aamc_sdk.log.rows.row import ATTEMPT, DECISION, FEEDBACK, Addition, Row, attempt_row, feedback_addition
from aamc_sdk.messages import check_known
from aamc_sdk.storage import from_json
from aamc_sdk.types import Attempt, Decision, Estimates, Feedback, Outcomes, Preference, Query, Record, Turn, check_name

T = TypeVar("T")
_TYPES = {"str": "a string", "float": "a number", "int": "a whole number", "bool": "true or false", "array": "a list", "object": "keys and values"}
"""Words for msgspec's names of types."""
_SECTIONS: Mapping[str, type[Any]] = {DECISION: Decision, "query": Query, "estimates": Estimates, "expected": Outcomes}
"""Sections of a decision's entry, with the classes that have their fields."""
_NEVER_NEGATIVE = ("wait_ms", "cost_usd", "latency_ms")
"""Figures of a decision's candidates of which no negative one exists."""


def line_of(*entry: Row) -> str:
    """Return an entry as one line of JSON."""
    return json.dumps({row.kind: _fields(row) for row in entry})


def _fields(row: Row) -> dict[str, Any]:
    fields: dict[str, Any] = dict(row.fields)
    if row.kind != ATTEMPT:
        fields["time"] = row.time
    if row.embedding is not None:
        fields["embedding"] = base64.b64encode(row.embedding).decode()
    if row.fingerprint:
        fields["fingerprint"] = row.fingerprint
    return fields


def addition_of(line: str | bytes) -> Addition:
    """Return the entry of a line; bytes are UTF-8.

    Raises:
        DataError: The line is not an entry, or has a value that cannot be used.
    """
    try:
        document = from_json(line if isinstance(line, str) else line.decode())
        if isinstance(document, dict) and FEEDBACK in document and document.get(ATTEMPT, {}) is None:
            del document[ATTEMPT]  # it came without an attempt
        if not isinstance(document, dict) or not all(isinstance(value, dict) for value in document.values()):
            raise DataError("the line must be a JSON object whose values are objects")
        return _entry(document)
    except (AamcError, binascii.Error, KeyError, TypeError, ValueError, RecursionError) as error:
        why = f"the field {error} is missing" if isinstance(error, KeyError) else str(error)
        raise DataError(f'not a log entry: {why}; a line is {{"decision": ...}}, {{"attempt": ...}} or {{"feedback": ...}}') from error


def _entry(document: dict[str, Any]) -> Addition:
    unknown = set(document) - {DECISION, ATTEMPT, FEEDBACK}
    if unknown or not (len(document) == 1 or set(document) == {FEEDBACK, ATTEMPT}):
        raise DataError(f"its keys are {', '.join(sorted(document))}" if document else "it has no keys")
    if DECISION in document:
        return (_decision(document[DECISION]),)
    if FEEDBACK not in document:
        return (_attempt_row(document[ATTEMPT]),)
    attempt = document.get(ATTEMPT)
    return feedback_addition(_made(Feedback, document[FEEDBACK], FEEDBACK), _attempt(attempt) if attempt else None)


def _attempt_row(fields: Mapping[str, Any]) -> Row:
    """Return an attempt's row; without a number it needs the random id that keeps it from counting twice."""
    if fields.get("n") is None and "call" not in fields:
        raise DataError("attempt must have the field 'n'")
    for key in ("feedback", "call"):
        if fields.get(key) is not None:
            check_name(fields[key], f"an attempt's {key}")
    return attempt_row(_attempt(fields), feedback_id=fields.get("feedback"), random_id=fields.get("call"))


def _attempt(fields: Mapping[str, Any]) -> Attempt:
    """Return an attempt; figures that are null are unknown."""
    return _made(Attempt, {name: value for name, value in fields.items() if name not in ("feedback", "call") and value is not None}, ATTEMPT)


def _decision(fields: Mapping[str, Any]) -> Row:
    """Return a decision's row, if a record can be read from it as readers of the log will."""
    _check_decision(fields)
    content = {name: value for name, value in fields.items() if name not in ("time", "embedding", "fingerprint")}
    embedding = base64.b64decode(fields["embedding"], validate=True) if fields.get("embedding") else None
    decision = content["decision"]
    fingerprint = fields.get("fingerprint") or ""
    if fingerprint:
        check_name(fingerprint, "a decision's fingerprint")
    row = Row(DECISION, decision["id"], decision["id"], decision["candidate"], encode(content), fields["time"], embedding, fingerprint=fingerprint)
    try:
        estimates = parsed_record(row).estimates
    except msgspec.ValidationError as error:
        raise DataError(_wrong_type(str(error), content)) from error
    names = len(estimates.category_names)
    if names not in (0, estimates.categories.shape[1]):
        raise DataError(f"a decision's categories must be {names} numbers, one a name, not {content['estimates']['categories']!r:.80}")
    return row


def _check_decision(fields: Mapping[str, Any]) -> None:
    """Check that a decision's entry has all its fields and no others, and figures of every candidate."""
    _check_fields(Record, {name: value for name, value in fields.items() if name not in ("time", "embedding")}, "a decision's entry")
    for name, cls in _SECTIONS.items():
        if not isinstance(fields[name], Mapping):
            raise DataError(f"a decision's {name} must be keys and values, not {fields[name]!r:.80}")
        _check_fields(cls, fields[name], name)
    decision, candidates, expected = fields["decision"], fields["candidates"], fields["expected"]
    turns = fields["query"].get("turns", [])
    if not isinstance(turns, list) or not all(isinstance(turn, Mapping) for turn in turns):
        raise DataError(f"a query's turns must be a list of objects, not {turns!r:.80}")
    for turn in turns:
        _check_fields(Turn, turn, "turn")
    Preference.of(decision["preference"])
    chosen = decision["candidate"]
    if not isinstance(candidates, list) or chosen not in candidates:
        raise DataError(f"a decision's candidates must be a list of names, {chosen!r} among them, not {candidates!r:.80}")
    figures = {"wait_ms": fields["wait_ms"], "cost_usd": expected["cost_usd"], "latency_ms": expected["latency_ms"]}
    optional = {"quality": expected, "output_tokens": expected, "in_flight": fields, "pressure": fields}
    figures |= {name: place[name] for name, place in optional.items() if place.get(name) is not None}
    for name, values in figures.items():
        least, bound = (0.0, " of at least 0") if name in _NEVER_NEGATIVE else (-math.inf, "")
        if not isinstance(values, list) or len(values) != len(candidates) or not all(_is_figure(value, least) for value in values):
            raise DataError(f"a decision's {name} must be {len(candidates)} numbers{bound}, one a candidate, not {values!r:.80}")
    probabilities = decision.get("probabilities", {})
    if isinstance(probabilities, Mapping) and not all(
        name in candidates and _is_figure(value, 0.0) and value <= 1 for name, value in probabilities.items() if value is not None
    ):
        raise DataError(f"a decision's probabilities must be numbers from 0 to 1 by candidate, not {probabilities!r:.80}")


def _is_figure(value: object, least: float) -> bool:
    return value is None or (isinstance(value, int | float) and value >= least)


def _wrong_type(message: str, content: Mapping[str, Any]) -> str:
    """Return msgspec's error of a wrong type with the field's name, and with the value if it is not within a mapping."""
    found = re.fullmatch(r"Expected `(.+)`, got `.+` - at `\$\.(.+)`", message)
    if found is None:  # by a class's own check, which names the value
        return re.sub(r" - at `\$.*`$", "", message)
    words = " or ".join(_TYPES.get(name, name) for name in found[1].split(" | "))
    if "[...]" in found[2]:
        return f"{found[2].replace('[...]', '')} must have {words} for each key"
    value: Any = content
    for name in re.findall(r"\w+", found[2]):
        value = value[int(name) if isinstance(value, list) else name]
    return f"{found[2]} must be {words}, not {json.dumps(value)[:80]}"


def _made(cls: type[T], fields: Mapping[str, Any], noun: str) -> T:
    """Return an instance made of fields, whose values its class checks."""
    _check_fields(cls, fields, noun)
    return cls(**fields)


def _check_fields(cls: type[Any], given: Mapping[str, Any], noun: str) -> None:
    fields = {field.name: field for field in attrs.fields(cls)}
    check_known(given, fields, f"{noun} has no field", DataError)
    for name, field in fields.items():
        if field.default is attrs.NOTHING and name not in given:
            raise DataError(f"{noun} must have the field {name!r}")
