"""Logged outcomes from rows: contents are decoded by msgspec, without building and validating an object for each entry."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, TypeVar

import msgspec
import numpy as np

from aamc_sdk.errors import StoreError
from aamc_sdk.log.rows import ATTEMPT, DECISION, Row, query_from
from aamc_sdk.types import OutcomeColumns, OutcomeJoin, Query

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
    """A decision's content; what other decisions are likely to have too is decoded once for all of them."""

    decision: _Decision
    query: msgspec.Raw
    estimates: msgspec.Raw
    candidates: msgspec.Raw
    expected: msgspec.Raw
    wait_ms: msgspec.Raw
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


class _Call(msgspec.Struct, gc=False):
    """The parts of an attempt that outcomes need."""

    error: str | None = None
    status: str | None = None
    cost_usd: float | None = None
    latency_ms: float | None = None
    output_tokens: float | None = None


_CALL = msgspec.json.Decoder(_Call)
_CONTENT, _DRAWN = msgspec.json.Decoder(_Content), msgspec.json.Decoder(_Drawn)
_JUDGEMENT = msgspec.json.Decoder(Judgement)
_DECODED = {
    "candidate": attrgetter("decision.candidate"),
    "propensity": attrgetter("decision.propensity"),
    "probabilities": attrgetter("decision.probabilities"),
    "router": attrgetter("decision.router"),
    "preference": attrgetter("decision.preference"),
    "preference_given": attrgetter("preference_given"),
    "masked_why": attrgetter("masked_why"),
    "in_flight": attrgetter("in_flight"),
}
"""The fields of :class:`DecisionFields` that a content has."""
_PARTS: Mapping[str, tuple[Callable[[_Content], msgspec.Raw], msgspec.json.Decoder[Any]]] = {
    "query": (attrgetter("query"), msgspec.json.Decoder(_Query)),
    "estimates": (attrgetter("estimates"), msgspec.json.Decoder(_Estimates)),
    "candidates": (attrgetter("candidates"), msgspec.json.Decoder(tuple[str, ...])),
    "expected": (attrgetter("expected"), msgspec.json.Decoder(_Expected)),
    "wait_ms": (attrgetter("wait_ms"), msgspec.json.Decoder(_Numbers)),
}
"""The parts of a content that are decoded apart: where they are, and how they are decoded."""
_WITHIN = {
    "text": ("query", "text"),
    "tenant": ("query", "tenant"),
    "expected_quality": ("expected", "quality"),
    "expected_cost_usd": ("expected", "cost_usd"),
    "expected_latency_ms": ("expected", "latency_ms"),
    "complexity": ("estimates", "complexity"),
    "tool_use": ("estimates", "tool_use"),
    "categories": ("estimates", "categories"),
    "category_names": ("estimates", "category_names"),
    "estimator": ("estimates", "fingerprint"),
}
"""The fields of :class:`DecisionFields` that are within these parts."""


_Kept = tuple[str, float, _Content, bytes | None]
"""A decision's id, time, content and embedding."""


class _Fields(dict[str, Sequence[Any]]):
    """The fields of some decisions (see :class:`DecisionFields`), by name, each read when it is first asked for."""

    def __init__(self, kept: Sequence[_Kept]) -> None:
        super().__init__()
        self._ids = [decision_id for decision_id, _, _, _ in kept]
        self._contents = [content for _, _, content, _ in kept]
        self._kept = kept

    def __missing__(self, name: str) -> Sequence[Any]:
        if name in _DECODED:
            found = list(map(_DECODED[name], self._contents))
        elif name in _WITHIN:
            part, attribute = _WITHIN[name]
            found = list(map(attrgetter(attribute), self[part]))
        elif name in _PARTS:
            found = self._part(*_PARTS[name])
        elif name == "embedding":
            found = [None if embedding is None else np.frombuffer(embedding, "<f4") for _, _, _, embedding in self._kept]
        else:
            found = [time for _, time, _, _ in self._kept]
        self[name] = found
        return found

    def _part(self, place: Callable[[_Content], msgspec.Raw], decoder: msgspec.json.Decoder[Any]) -> list[Any]:
        """Return a part of each content; equal ones are decoded once."""
        texts = list(map(bytes, map(place, self._contents)))
        try:
            known = {text: decoder.decode(text) for text in set(texts)}
        except msgspec.MsgspecError:
            known = {text: decoded(decoder, text, name) for text, name in zip(texts, self._ids, strict=True)}
        return list(map(known.__getitem__, texts))


class RowOutcomes(OutcomeJoin):
    """Joins rows of a log, whole or by their columns."""

    def __init__(self, columns: Iterable[str] = ()) -> None:
        super().__init__(OutcomeColumns(columns, _Fields, _query))

    def add_row(self, row: Row) -> None:
        """Add an entry."""
        if row.kind == DECISION:
            propensity = decoded(_DRAWN, row.content, row.id).decision.propensity if row.columns is None else row.columns["propensity"]
            self.add_decision_content(row.id, row.candidate, row.time, propensity, row.content, row.embedding)
        elif row.kind == ATTEMPT:
            self.add_attempt_content(row.decision_id, row.id, row.candidate, row.content)
        else:
            self.add_feedback_content(row.decision_id, row.id, row.candidate, row.content)

    def add_decision_content(
        self, decision_id: str, candidate: str, time: float, propensity: float | None, content: str | bytes, embedding: bytes | None
    ) -> None:
        """Add a decision; its content is read only if a column needs it."""
        kept = (decision_id, time, decoded(_CONTENT, content, decision_id), embedding) if self.needs_fields else None
        self.add_decision(decision_id, candidate, propensity, kept)

    def add_attempt_content(self, decision_id: str, attempt_id: str, candidate: str, content: str | bytes) -> None:
        """Add an attempt."""
        call = decoded(_CALL, content, attempt_id)
        status = call.status or ("ok" if call.error is None else "error")
        self.add_attempt(decision_id, candidate, status, call.cost_usd, call.latency_ms, call.output_tokens)

    def add_feedback_content(self, decision_id: str, feedback_id: str, candidate: str, content: str | bytes) -> None:
        """Add feedback."""
        self.add_feedback(decision_id, feedback_id, candidate, decoded(_JUDGEMENT, content, feedback_id))


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
        fields = json.loads(content)
        if decoder is _CONTENT:
            fields |= {name: _raw(fields[name]) for name in _PARTS.keys() & fields.keys()}
        return msgspec.convert(fields, decoder.type)
    except (KeyError, TypeError, ValueError, msgspec.MsgspecError) as error:
        raise StoreError(f"the log's entry {name!r} is damaged ({error}): restore a copy of the log") from error


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


def is_within(time: float, since: float | None, until: float | None) -> bool:
    """Return whether a time is at ``since`` or later and before ``until``."""
    return (since is None or time >= since) and (until is None or time < until)
