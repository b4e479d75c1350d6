"""Decisions as rows of the log, with or without their prompts.

The store's option ``store_text`` decides whether prompts are kept; without it every text reads as ``""``. Fields that version 0.1 did not
have are left out of the JSON where they have their default, so that its entries and those of this version compare equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from aamc_sdk.errors import StoreError
from aamc_sdk.log.json_text import check_plain, damages, encode, nan_if_null, null_if_unknown
from aamc_sdk.log.rows import DECISION, Row, columns_from
from aamc_sdk.types import ByName, Decision, Estimates, Floats, Outcomes, Preference, Query, Record, Turn, request_fingerprint

_FLOAT32 = np.dtype("<f4")


def decision_row(record: Record, store_text: bool) -> Row:
    """Return the row of a decision's record.

    Raises:
        StoreError: A note is not of JSON's types.
    """
    fingerprint = request_fingerprint(record)
    query, decision, estimates = record.query, record.decision, record.estimates
    for name, note in decision.notes.items():
        try:
            check_plain(note)
        except StoreError as error:
            raise StoreError(f"note {name!r} of router {decision.router!r} cannot be logged: {error}") from None
    content = {
        "decision": _decision_fields(decision),
        "query": _query_fields(query) if store_text else redacted_fields(query),
        "estimates": {
            "complexity": estimates.complexity.item(0),
            "categories": estimates.categories.tolist()[0],
            "category_names": estimates.category_names,
            "tool_use": estimates.tool_use.item(0),
            "fingerprint": estimates.fingerprint,
        },
        "candidates": record.candidates,
        "expected": _expected_fields(record.expected),
        "wait_ms": record.wait_ms.tolist()[0],
        "masked_why": record.masked_why,
    }
    if not record.preference_given:
        content["preference_given"] = False
    if record.in_flight is not None:
        content["in_flight"] = record.in_flight.tolist()[0]
    if record.pressure is not None:
        content["pressure"] = record.pressure.tolist()[0]
    if record.budget_usd is not None:
        content["budget_usd"] = float(record.budget_usd)
    if record.quality_floor is not None:
        content["quality_floor"] = float(record.quality_floor)
    return Row(
        kind=DECISION,
        id=decision.id,
        decision_id=decision.id,
        candidate=decision.candidate,
        content=encode(content),
        time=float(decision.time),  # NumPy's numbers are no numbers to SQLite and Redis
        embedding=None if estimates.embedding is None else estimates.embedding[0].astype(_FLOAT32).tobytes(),
        fingerprint=fingerprint,
        columns=columns_from(DECISION, content),
        group=(decision.router, record.candidates),
    )


def _decision_fields(decision: Decision) -> dict[str, Any]:
    """Return a decision's fields but for its time."""
    preference = decision.preference
    fields: dict[str, Any] = {
        "id": decision.id,
        "candidate": decision.candidate,
        "propensity": null_if_unknown(decision.propensity),
        "preference": (preference.quality, preference.cost, preference.latency),
        "probabilities": _plain(decision.probabilities),
        "router": decision.router,
        "notes": {name: _plain(note) for name, note in decision.notes.items()},
    }
    if decision.utilities:
        fields["utilities"] = _plain(decision.utilities)
    if decision.episode is not None:
        fields["episode"] = decision.episode
    return fields


def _expected_fields(expected: Outcomes) -> dict[str, Any]:
    return {
        "quality": None if expected.quality is None else expected.quality.tolist()[0],
        "cost_usd": expected.cost_usd.tolist()[0],
        "latency_ms": expected.latency_ms.tolist()[0],
        "output_tokens": None if expected.output_tokens is None else expected.output_tokens.tolist()[0],
    }


def _plain(value: Any) -> Any:
    """Return values by candidate's name as a dictionary, which is encoded faster; anything else as it is."""
    return value.to_dict() if type(value) is ByName else value


def decision_from(row: Row) -> Decision:
    """Return the decision that a row keeps."""
    saved = row.fields["decision"]
    read = {"preference": Preference(*saved["preference"]), "propensity": nan_if_null(saved["propensity"]), "time": row.time}
    if "utilities" in saved:
        read["utilities"] = {name: nan_if_null(value) for name, value in saved["utilities"].items()}
    return Decision(**saved | read)


def record_from(row: Row) -> Record:
    """Return the record that a decision's row keeps.

    Raises:
        StoreError: It is damaged.
    """
    with damages(row.name):
        return parsed_record(row)


def parsed_record(row: Row) -> Record:
    """Return the record that a decision's row keeps; the errors of wrong values are as they are raised."""
    content = row.fields
    estimates, expected = content["estimates"], content["expected"]
    return Record(
        decision=decision_from(row),
        query=query_from(content["query"]),
        estimates=Estimates(
            complexity=_floats([estimates["complexity"]]),
            categories=_floats([estimates["categories"]]),
            category_names=tuple(estimates["category_names"]),
            tool_use=_floats([estimates["tool_use"]]),
            embedding=None if row.embedding is None else np.frombuffer(row.embedding, _FLOAT32)[None],
            fingerprint=estimates["fingerprint"],
        ),
        candidates=tuple(content["candidates"]),
        expected=Outcomes(
            quality=None if expected["quality"] is None else _floats([expected["quality"]]),
            cost_usd=_floats([expected["cost_usd"]]),
            latency_ms=_floats([expected["latency_ms"]]),
            output_tokens=None if expected.get("output_tokens") is None else _floats([expected["output_tokens"]]),
        ),
        wait_ms=_floats([content["wait_ms"]]),
        masked_why=content["masked_why"],
        preference_given=content.get("preference_given", True),
        in_flight=_floats([content["in_flight"]]) if "in_flight" in content else None,
        budget_usd=content.get("budget_usd"),
        quality_floor=content.get("quality_floor"),
        pressure=_floats([content["pressure"]]) if "pressure" in content else None,
        fingerprint=row.fingerprint,
    )


def redacted(row: Row) -> Row:
    """Return a decision's row without its prompt."""
    query = row.fields["query"]
    has_text = query["text"] or any(turn["content"] for turn in query.get("turns", ()))
    return with_query(row, redacted_fields(query_from(query))) if has_text else row


def with_query(row: Row, fields: Mapping[str, Any], **changes: Any) -> Row:
    """Return a decision's row with other fields of its query, and with changes to its own attributes."""
    return attrs.evolve(row, content=encode(row.fields | {"query": fields}), columns=None, **changes)


def _query_fields(query: Query) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "text": query.text,
        "user": query.user,
        "session": query.session,
        "needs": sorted(query.needs),
        "prompt_tokens": query.prompt_tokens,
        "output_tokens": query.output_tokens,
        "cached_on": query.cached_on,
    }
    if query.turns:
        fields["turns"] = [attrs.asdict(turn) for turn in query.turns]
    if query.tenant is not None:
        fields["tenant"] = query.tenant
    return fields


def redacted_fields(query: Query) -> dict[str, Any]:
    """Return a query's fields without its texts; turns keep speaker, model and rating."""
    fields = _query_fields(query)
    fields["text"], fields["prompt_tokens"] = "", query.expected_prompt_tokens
    for turn in fields.get("turns", ()):
        turn["content"] = ""
    return fields


def query_from(fields: Mapping[str, Any]) -> Query:
    """Return the query that a decision's row keeps."""
    turns: Sequence[Mapping[str, Any]] = fields.get("turns", ())
    return Query(**{**fields, "turns": [Turn(**turn) for turn in turns]})


def _floats(values: list[Any]) -> Floats:
    return np.array(values, dtype=np.float64)  # None becomes NaN
