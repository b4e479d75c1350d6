"""Decisions as rows of the log, with or without their prompts.

Prompts are kept only with the store's option ``store_text``; otherwise every text is ``""``. Fields that version 0.1 did not have are left out of the
JSON if they have their default, so that equal entries of both versions have equal JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import msgspec
import numpy as np

from aamc_sdk.errors import StoreError
from aamc_sdk.log.rows.json_text import check_plain, damage_errors, decode, encode, nan_if_null, null_if_unknown
from aamc_sdk.log.rows.row import DECISION, Row, columns_from
from aamc_sdk.types import Decision, Estimates, Floats, Outcomes, Preference, Query, Record, request_fingerprint

_FLOAT32 = np.dtype("<f4")
Numbers = list[float | None]
"""Numbers of the candidates, or of the categories, in their order; null where a number is unknown."""


class DecisionFields(msgspec.Struct, gc=False):
    """The fields of :class:`aamc_sdk.types.Decision` but for its time, which is the row's."""

    id: str
    candidate: str
    propensity: float | None
    preference: tuple[float, float, float]
    probabilities: dict[str, float] = {}
    router: str = ""
    notes: dict[str, Any] = {}
    utilities: dict[str, float | None] = {}
    episode: str | None = None


class EstimateFields(msgspec.Struct, gc=False):
    """The fields of :class:`aamc_sdk.types.Estimates` for one query but for its embedding, which is the row's."""

    complexity: float | None
    categories: Numbers
    category_names: tuple[str, ...]
    tool_use: float | None
    fingerprint: str = ""


class ExpectedFields(msgspec.Struct, gc=False):
    """The fields of :class:`aamc_sdk.types.Outcomes` for one query."""

    quality: Numbers | None
    cost_usd: Numbers
    latency_ms: Numbers
    output_tokens: Numbers | None = None


class DecisionContent(msgspec.Struct, gc=False):
    """The content of a decision's row: the fields of :class:`aamc_sdk.types.Record`. Decoding checks every value.

    Fields of later versions are skipped. Fields with a default may be missing, as in entries of earlier versions.
    """

    decision: DecisionFields
    query: Query
    estimates: EstimateFields
    candidates: tuple[str, ...]
    expected: ExpectedFields
    wait_ms: Numbers
    masked_why: dict[str, str]
    preference_given: bool = True
    in_flight: Numbers | None = None
    pressure: Numbers | None = None
    budget_usd: float | None = None
    quality_floor: float | None = None


_CONTENT = msgspec.json.Decoder(DecisionContent)


def decision_row(record: Record, store_text: bool) -> Row:
    """Return the row of a decision's record; raises StoreError if a note is not of JSON's types."""
    fingerprint = request_fingerprint(record)
    query, decision, estimates = record.query, record.decision, record.estimates
    for name, note in decision.notes.items():
        try:
            check_plain(note)
        except StoreError as error:
            raise StoreError(f"note {name!r} of router {decision.router!r} cannot be logged: {error}") from None
    content: dict[str, Any] = {
        "decision": _decision_fields(decision),
        "query": _query_fields(query) if store_text else _redacted_fields(query),
        "estimates": {
            "complexity": estimates.complexity.item(0),
            "categories": estimates.categories.tolist()[0],
            "category_names": estimates.category_names,
            "tool_use": estimates.tool_use.item(0),
            "fingerprint": estimates.fingerprint,
        },
        "candidates": record.candidates,
        "expected": {name: _only_row(getattr(record.expected, name)) for name in ExpectedFields.__struct_fields__},
        "wait_ms": _only_row(record.wait_ms),
        "masked_why": record.masked_why,
    }
    if not record.preference_given:
        content["preference_given"] = False
    for name in ("in_flight", "pressure"):
        if (values := getattr(record, name)) is not None:
            content[name] = _only_row(values)
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
        time=float(decision.time),  # SQLite and Redis do not take NumPy's numbers
        embedding=None if estimates.embedding is None else estimates.embedding[0].astype(_FLOAT32).tobytes(),
        fingerprint=fingerprint,
        columns=columns_from(DECISION, content),
    )


def _decision_fields(decision: Decision) -> dict[str, Any]:
    """Return a decision's fields but for its time."""
    preference = decision.preference
    fields = {name: getattr(decision, name) for name in DecisionFields.__struct_fields__}
    fields["propensity"] = null_if_unknown(decision.propensity)
    fields["preference"] = (preference.quality, preference.cost, preference.latency)
    if not decision.utilities:
        del fields["utilities"]
    if decision.episode is None:
        del fields["episode"]
    return fields


def _only_row(values: Floats | None) -> list[float] | None:
    """Return the numbers of an array ``[1, n]``."""
    return None if values is None else values[0].tolist()


def record_from(row: Row) -> Record:
    """Return the record that a decision's row keeps; raises StoreError if the row is damaged."""
    with damage_errors(row.name):
        return parsed_record(row)


def parsed_record(row: Row) -> Record:
    """Return the record that a decision's row keeps; raises ValueError if a value is wrong."""
    content: DecisionContent = decode(row.content, _CONTENT)
    decision, estimates, expected = content.decision, content.estimates, content.expected
    return Record(
        decision=Decision(
            id=decision.id,
            candidate=decision.candidate,
            propensity=nan_if_null(decision.propensity),
            preference=Preference(*decision.preference),
            probabilities=decision.probabilities,
            router=decision.router,
            time=row.time,
            notes=decision.notes,
            utilities={name: nan_if_null(value) for name, value in decision.utilities.items()},
            episode=decision.episode,
        ),
        query=content.query,
        estimates=Estimates(
            complexity=np.array([estimates.complexity], dtype=np.float64),
            categories=_one_row(estimates.categories),
            category_names=estimates.category_names,
            tool_use=np.array([estimates.tool_use], dtype=np.float64),
            embedding=None if row.embedding is None else np.frombuffer(row.embedding, _FLOAT32)[None],
            fingerprint=estimates.fingerprint,
        ),
        candidates=content.candidates,
        expected=Outcomes(
            quality=_one_row_or_none(expected.quality),
            cost_usd=_one_row(expected.cost_usd),
            latency_ms=_one_row(expected.latency_ms),
            output_tokens=_one_row_or_none(expected.output_tokens),
        ),
        wait_ms=_one_row(content.wait_ms),
        masked_why=content.masked_why,
        preference_given=content.preference_given,
        in_flight=_one_row_or_none(content.in_flight),
        budget_usd=content.budget_usd,
        quality_floor=content.quality_floor,
        pressure=_one_row_or_none(content.pressure),
        fingerprint=row.fingerprint,
    )


def _one_row(values: Numbers) -> Floats:
    """Return numbers as an array ``[1, len(values)]``; None becomes NaN."""
    return np.array([values], dtype=np.float64)


def _one_row_or_none(values: Numbers | None) -> Floats | None:
    return None if values is None else _one_row(values)


def redacted(row: Row) -> Row:
    """Return a decision's row without its prompt."""
    query = row.fields["query"]
    has_text = query["text"] or any(turn["content"] for turn in query.get("turns", ()))
    return with_query(row, redacted_fields(row)) if has_text else row


def with_query(row: Row, fields: Mapping[str, Any], **changes: Any) -> Row:
    """Return a decision's row with other fields of its query, and with changes to its own attributes."""
    return attrs.evolve(row, content=encode(row.fields | {"query": fields}), columns=None, **changes)


def redacted_fields(row: Row) -> dict[str, Any]:
    """Return the fields of a decision's query without its texts; raises StoreError if the row is damaged."""
    with damage_errors(row.name):
        return _redacted_fields(msgspec.convert(row.fields["query"], Query))


def _redacted_fields(query: Query) -> dict[str, Any]:
    """Return a query's fields without its texts; turns keep speaker, model and rating."""
    fields = _query_fields(query)
    fields["text"], fields["prompt_tokens"] = "", query.expected_prompt_tokens
    for turn in fields.get("turns", ()):
        turn["content"] = ""
    return fields


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
    if query.cached_on is not None:
        fields["cached_tokens"] = query.expected_cached_tokens
    if query.window_tokens is not None:
        fields["window_tokens"] = query.window_tokens
    if query.turns:
        fields["turns"] = [attrs.asdict(turn) for turn in query.turns]
    if query.tenant is not None:
        fields["tenant"] = query.tenant
    return fields
