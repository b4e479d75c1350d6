"""Logged outcomes from rows: contents are decoded by msgspec, without building and validating an object for each entry."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec
import numpy as np

from aamc_sdk.errors import StoreError
from aamc_sdk.log.rows import ATTEMPT, DECISION, Row, columns_of, query_from
from aamc_sdk.types import FIGURES, DecisionFields, OutcomeJoin, Query

T = TypeVar("T")
_Numbers = list[float | None]


class _Decision(msgspec.Struct, gc=False):
    candidate: str
    propensity: float | None
    preference: tuple[float, float, float]
    probabilities: dict[str, float] = {}
    router: str = ""


class _Estimates(msgspec.Struct, gc=False):
    complexity: float | None
    categories: _Numbers
    category_names: tuple[str, ...]
    tool_use: float | None
    fingerprint: str = ""


class _Expected(msgspec.Struct, gc=False):
    quality: _Numbers | None
    cost_usd: _Numbers
    latency_ms: _Numbers


class _Query(msgspec.Struct, gc=False):
    text: str
    user: str | None = None
    session: str | None = None
    needs: list[str] = []
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    cached_on: str | None = None
    turns: list[dict[str, Any]] = []
    tenant: str | None = None


class _Draw(msgspec.Struct, gc=False):
    propensity: float | None


class _Drawn(msgspec.Struct, gc=False):
    decision: _Draw


class _Content(msgspec.Struct, gc=False):
    decision: _Decision
    query: _Query
    estimates: _Estimates
    candidates: tuple[str, ...]
    expected: _Expected
    wait_ms: _Numbers
    masked_why: dict[str, str]
    preference_given: bool = True
    in_flight: _Numbers | None = None


class Judgement(msgspec.Struct, gc=False):
    """The parts of feedback that outcomes need."""

    quality: float | None = None
    over: str | None = None
    confidence: float = 1.0
    weight: float = 1.0
    source: str = "explicit"


_CONTENT, _DRAWN = msgspec.json.Decoder(_Content), msgspec.json.Decoder(_Drawn)
_JUDGEMENT = msgspec.json.Decoder(Judgement)


class RowOutcomes(OutcomeJoin):
    """Joins rows of a log, whole or by their columns."""

    def __init__(self, columns: Iterable[str] = ()) -> None:
        super().__init__(columns, _query)

    def add_row(self, row: Row) -> None:
        """Add an entry."""
        if row.kind == DECISION:
            propensity = decoded(_DRAWN, row.content, row.id).decision.propensity if row.columns is None else row.columns["propensity"]
            self.add_decision_content(row.id, row.candidate, row.time, propensity, row.content, row.embedding)
        elif row.kind == ATTEMPT:
            columns = columns_of(row)
            self.add_attempt(row.decision_id, row.candidate, columns["status"], *(columns[name] for name in FIGURES))
        else:
            self.add_feedback_content(row.decision_id, row.id, row.candidate, row.content)

    def add_decision_content(
        self, decision_id: str, candidate: str, time: float, propensity: float | None, content: str | bytes, embedding: bytes | None
    ) -> None:
        """Add a decision; its content is read only if a column needs it."""
        self.add_decision(decision_id, candidate, propensity, _fields(decision_id, time, content, embedding) if self.needs_fields else None)

    def add_feedback_content(self, decision_id: str, feedback_id: str, candidate: str, content: str | bytes) -> None:
        """Add feedback."""
        self.add_feedback(decision_id, feedback_id, candidate, decoded(_JUDGEMENT, content, feedback_id))


def _fields(decision_id: str, time: float, content: str | bytes, embedding: bytes | None) -> DecisionFields:
    found = decoded(_CONTENT, content, decision_id)
    decision, estimates, expected, query = found.decision, found.estimates, found.expected, found.query
    return DecisionFields(
        time,
        decision.candidate,
        decision.propensity,
        decision.probabilities,
        decision.router,
        decision.preference,
        found.preference_given,
        found.candidates,
        query,
        query.text,
        query.tenant,
        expected.quality,
        expected.cost_usd,
        expected.latency_ms,
        found.wait_ms,
        found.in_flight,
        found.masked_why,
        estimates.complexity,
        estimates.tool_use,
        estimates.categories,
        estimates.category_names,
        None if embedding is None else np.frombuffer(embedding, "<f4"),
        estimates.fingerprint,
    )


def _query(kept: _Query) -> Query:
    return query_from(msgspec.structs.asdict(kept))


def decoded(decoder: msgspec.json.Decoder[T], content: str | bytes, name: str) -> T:
    """Return what a decoder reads from a content.

    Raises:
        StoreError: The content is damaged.
    """
    try:
        return decoder.decode(content)
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return _converted(decoder, content, name)


def _converted(decoder: msgspec.json.Decoder[T], content: str | bytes, name: str) -> T:
    """Return the same of a content with half of a surrogate pair, which msgspec refuses."""
    try:
        return msgspec.convert(json.loads(content), decoder.type)
    except (ValueError, msgspec.MsgspecError) as error:
        raise StoreError(f"the log's entry {name!r} is damaged ({error}): restore a copy of the log") from error


def is_within(time: float, since: float | None, until: float | None) -> bool:
    """Return whether a time is at ``since`` or later and before ``until``."""
    return (since is None or time >= since) and (until is None or time < until)
