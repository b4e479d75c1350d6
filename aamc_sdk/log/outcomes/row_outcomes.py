"""Logged outcomes from entries: contents are decoded by msgspec, without building and validating an object for each of them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np

from aamc_sdk.errors import DataError, StoreError
from aamc_sdk.log.outcomes.columns import FIGURES, OutcomeColumns
from aamc_sdk.log.outcomes.join import OutcomeJoin
from aamc_sdk.log.rows.decision_row import query_from
from aamc_sdk.log.rows.row import ATTEMPT, DECISION, FEEDBACK, Row, columns_of
from aamc_sdk.types import Experience, LoggedOutcomes, Query
from aamc_sdk.types.decisions import default_status

T = TypeVar("T")
LoggedEntry = Sequence[Any]
"""An entry's kind, decision's id, own id, candidate, time, propensity, content as the store keeps it, embedding, and a call's status, cost, latency
and output tokens. Unrequested fields may be None. Without a status, the content is decoded."""
JOINED_AT_ONCE = 500
"""Entries that are joined at once: few enough for the processor's cache."""
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


class _Content(msgspec.Struct, gc=False):
    """A decision's content; parts that other decisions are likely to share are decoded once."""

    decision: _Decision
    query: msgspec.Raw
    estimates: msgspec.Raw
    candidates: msgspec.Raw
    expected: msgspec.Raw
    wait_ms: msgspec.Raw
    masked_why: dict[str, str]
    preference_given: bool = True
    in_flight: _Numbers | None = None


class FeedbackFields(msgspec.Struct, gc=False):
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
_CONTENT = msgspec.json.Decoder(_Content)
_FEEDBACK_FIELDS = msgspec.json.Decoder(FeedbackFields)
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
"""The fields of a decision that its content has."""
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
"""The fields of a decision that are within these parts."""


class _Decisions(NamedTuple):
    """Some decisions as the log has them: their ids, times, parsed contents and embeddings."""

    ids: Sequence[str]
    times: Sequence[float]
    contents: Sequence[_Content]
    embeddings: Sequence[bytes | None]


class _Fields(dict[str, Sequence[Any]]):
    """The fields of some decisions, by name, each read when it is first asked for."""

    def __init__(self, decisions: _Decisions | tuple[()]) -> None:
        super().__init__()
        self._decisions = decisions or _Decisions((), (), (), ())

    def __missing__(self, name: str) -> Sequence[Any]:
        found: Sequence[Any]
        if name in _DECODED:
            found = list(map(_DECODED[name], self._decisions.contents))
        elif name in _WITHIN:
            part, attribute = _WITHIN[name]
            found = list(map(attrgetter(attribute), self[part]))
        elif name in _PARTS:
            found = self._part(*_PARTS[name])
        elif name == "embedding":
            found = [None if embedding is None else np.frombuffer(embedding, "<f4") for embedding in self._decisions.embeddings]
        else:
            found = self._decisions.times
        self[name] = found
        return found

    def _part(self, place: Callable[[_Content], msgspec.Raw], decoder: msgspec.json.Decoder[Any]) -> list[Any]:
        """Return a part of each content; equal ones are decoded once."""
        raws = list(map(place, self._decisions.contents))
        if raws and raws.count(raws[0]) == len(raws):
            return [decoded(decoder, bytes(raws[0]), self._decisions.ids[0])] * len(raws)
        texts = list(map(bytes, raws))
        try:
            known = {text: decoder.decode(text) for text in set(texts)}
        except msgspec.MsgspecError:
            known = {text: decoded(decoder, text, name) for text, name in zip(texts, self._decisions.ids, strict=True)}
        return list(map(known.__getitem__, texts))


def logged_entry(row: Row) -> LoggedEntry:
    """Return a row as :class:`RowOutcomes` takes it."""
    propensity = columns_of(row)["propensity"] if row.kind == DECISION else None
    return (row.kind, row.decision_id, row.id, row.candidate, row.time, propensity, row.content, row.embedding, None, None, None, None)


class RowOutcomes(OutcomeJoin):
    """Joins the entries of a log, a batch of columns at a time.

    Args:
        columns: The columns that are asked for.
        since: Time of the first decisions to join, in seconds since the epoch; None for all.
        until: Time before which decisions are joined; None for all.

    Raises:
        DataError: A time is no number.
    """

    def __init__(self, columns: Iterable[str] = (), since: float | None = None, until: float | None = None) -> None:
        for name, limit in (("since", since), ("until", until)):
            if limit is not None and not (isinstance(limit, Real) and limit == limit):  # NaN
                raise DataError(f"{name} must be seconds since the epoch, such as time.time() - 86400, or None, not {limit!r}")
        super().__init__(OutcomeColumns(columns, _Fields, _query))
        self._range = since, until

    def add_entries(self, entries: Iterable[LoggedEntry], unpack: Callable[[Sequence[Any]], Sequence[str | bytes]] = list) -> None:
        """Add entries in log order.

        Args:
            entries: The entries.
            unpack: Returns contents as JSON.
        """
        following = iter(entries)
        while batch := list(itertools.islice(following, JOINED_AT_ONCE)):
            of_kind: dict[str, list[LoggedEntry]] = {DECISION: [], ATTEMPT: [], FEEDBACK: []}
            for entry in batch:
                of_kind[entry[0]].append(entry)
            for kind, add in ((DECISION, self._add_decisions), (ATTEMPT, self._add_attempts), (FEEDBACK, self._add_feedback)):
                if of_kind[kind]:
                    add(zip(*of_kind[kind], strict=True), unpack)

    def _add_decisions(self, columns: Iterable[Sequence[Any]], unpack: Callable[[Sequence[Any]], Sequence[str | bytes]]) -> None:
        _, _, ids, candidates, times, propensity, packed, embeddings, *_ = columns
        since, until = self._range
        if (since is not None and min(times) < since) or (until is not None and max(times) >= until):
            within = [is_within(time, since, until) for time in times]
            given = (ids, candidates, times, propensity, packed, embeddings)
            ids, candidates, times, propensity, packed, embeddings = (list(itertools.compress(each, within)) for each in given)
        contents = _all_decoded(_CONTENT, unpack(packed), ids) if self.needs_fields else ()
        self.add_decisions(ids, candidates, propensity, _Decisions(ids, times, contents, embeddings))

    def _add_attempts(self, columns: Iterable[Sequence[Any]], unpack: Callable[[Sequence[Any]], Sequence[str | bytes]]) -> None:
        _, decision_ids, ids, candidates, _, _, packed, _, status, *figures = columns
        if None in status:
            calls = _all_decoded(_CALL, unpack(packed), ids)
            status = [call.status or default_status(call.error) for call in calls]
            figures = [[getattr(call, name) for call in calls] for name in FIGURES]
        self.add_attempts(decision_ids, candidates, status, *figures)

    def _add_feedback(self, columns: Iterable[Sequence[Any]], unpack: Callable[[Sequence[Any]], Sequence[str | bytes]]) -> None:
        _, decision_ids, ids, candidates, _, _, packed, *_ = columns
        self.add_feedback(decision_ids, ids, candidates, _all_decoded(_FEEDBACK_FIELDS, unpack(packed), ids))


def outcomes_of(experience: Experience, failure_quality: float | None = 0.0) -> LoggedOutcomes:
    """Return the outcomes of a whole log's decisions.

    Args:
        experience: The log.
        failure_quality: The quality of a failed call without feedback; None for unknown.
    """
    join = RowOutcomes()
    join.add_decisions(*([getattr(each, name) for each in experience.decisions] for name in ("id", "candidate", "propensity")))
    join.add_attempts(*([getattr(each, name) for each in experience.attempts] for name in ("decision_id", "candidate", "status", *FIGURES)))
    decision_ids, ids, candidates = ([getattr(each, name) for each in experience.feedback] for name in ("decision_id", "id", "candidate"))
    join.add_feedback(decision_ids, ids, candidates, experience.feedback)
    return join.outcomes(failure_quality)


def is_within(time: float, since: float | None, until: float | None) -> bool:
    """Return whether a time is at ``since`` or later and before ``until``."""
    return (since is None or time >= since) and (until is None or time < until)


def _query(kept: _Query) -> Query:
    return query_from(msgspec.structs.asdict(kept))


def decoded(decoder: msgspec.json.Decoder[T], content: str | bytes, name: str) -> T:
    """Return a decoded content.

    Raises:
        StoreError: The content is damaged.
    """
    try:
        return decoder.decode(content)
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return _converted(decoder, content, name)


def _all_decoded(decoder: msgspec.json.Decoder[T], contents: Sequence[str | bytes], names: Sequence[str]) -> list[T]:
    """Return each content decoded, see :func:`decoded`."""
    try:
        return list(map(decoder.decode, contents))
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return [decoded(decoder, content, name) for content, name in zip(contents, names, strict=True)]


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
