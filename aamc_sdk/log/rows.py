"""The log's entries as rows: plain JSON, an embedding's float32 bytes, and columns for queries that need no JSON.

The store's option ``store_text`` decides whether prompts are kept; without it every text reads as ``""``. Fields that version 0.1 did not
have are left out of the JSON where they have their default, so that its entries and ours compare equal.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import attrs
import msgspec
import numpy as np

from aamc_sdk.errors import StoreError
from aamc_sdk.log.json_text import check_plain, decode, encode
from aamc_sdk.types import (
    Attempt,
    ByName,
    Decision,
    Estimates,
    Feedback,
    Floats,
    Outcomes,
    Preference,
    Query,
    Record,
    Turn,
    new_ids,
    request_fingerprint,
)

DECISION, ATTEMPT, FEEDBACK = "decision", "attempt", "feedback"
"""The kinds of entries."""
_TEXT, _NUMBER, _COUNT = "TEXT", "DOUBLE PRECISION", "BIGINT"
COLUMNS: Mapping[str, str] = {
    "tenant": _TEXT,
    "user_id": _TEXT,
    "episode": _TEXT,
    "propensity": _NUMBER,
    "quality": _NUMBER,
    "beaten": _TEXT,
    "attempt": _COUNT,
    "status": _TEXT,
    "cost_usd": _NUMBER,
    "cost_source": _TEXT,
    "latency_ms": _NUMBER,
    "first_token_ms": _NUMBER,
    "prompt_tokens": _COUNT,
    "cached_tokens": _COUNT,
    "reasoning_tokens": _COUNT,
    "output_tokens": _COUNT,
}
"""Columns that SQL stores fill from the JSON, with their types: see :func:`columns_of`. An attempt's error stays in the JSON alone,
since it may hold characters that a database refuses."""
KIND_COLUMNS: Mapping[str, Sequence[str]] = {
    DECISION: ("tenant", "user_id", "episode", "propensity"),
    FEEDBACK: ("quality", "beaten"),
    ATTEMPT: [name for name in COLUMNS if name not in ("tenant", "user_id", "episode", "propensity", "quality", "beaten")],
}
"""The columns that a kind of entry fills; the others are NULL."""
_FLOAT32 = np.dtype("<f4")
_FIGURES = ("cost_usd", "latency_ms", "first_token_ms")
_LATER_FIELDS = ("first_token_ms", "prompt_tokens", "cached_tokens", "reasoning_tokens")
"""Fields of an attempt that version 0.1 did not have; left out where they are unknown."""
_ATTEMPT_FIELDS = tuple(field.name for field in attrs.fields(Attempt))
_read_attempt = attrgetter(*_ATTEMPT_FIELDS)
_CALL_KEYS = ("feedback", "call")
"""Keys of an attempt's JSON besides its fields: the feedback that it came with, or the random id of an attempt without a number of its own."""


@attrs.frozen(slots=False)
class Row:
    """One entry of the log, as it is kept.

    Attributes:
        kind: ``DECISION``, ``ATTEMPT`` or ``FEEDBACK``.
        id: Its own id; kind, id and revision are unique.
        decision_id: The decision that it is or refers to.
        candidate: The candidate that it is about; ``""`` where the caller gave none and the decision is not in the log yet.
        content: JSON; two entries are the same if their contents are.
        time: Its time, in seconds since the epoch.
        embedding: The query's embedding as little-endian float32, or None.
        revision: The revision of feedback; 0 for other entries.
        fingerprint: The fingerprint of a decision's request; ``""`` where it is unknown or was erased.
        columns: The values of ``COLUMNS`` by name, where they are at hand without parsing the content.
        sort: Router and candidates of a decision as one text (:func:`sort_of`), where they are at hand too.
    """

    kind: str
    id: str
    decision_id: str
    candidate: str
    content: str
    time: float
    embedding: bytes | None = None
    revision: int = 0
    fingerprint: str = ""
    columns: Mapping[str, Any] | None = attrs.field(default=None, eq=False, repr=False)
    sort: str = attrs.field(default="", eq=False, repr=False)

    def unpacked_by(self, unpack: Callable[[], str]) -> Row:
        """Return this row, whose content a function returns when it is first asked for."""
        del self.__dict__["content"]
        self.__dict__["_unpack"] = unpack
        return self

    def with_candidate(self, candidate: str) -> Row:
        """Return this row about a candidate, with what is known of its content; ``attrs.evolve`` takes several times as long."""
        if self.candidate == candidate:
            return self
        row = object.__new__(Row)
        row.__dict__.update(self.__dict__, candidate=candidate)
        return row

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> str:
            unpack = self.__dict__.get("_unpack")
            if name != "content" or unpack is None:
                raise AttributeError(f"a row has no {name!r}")
            content = self.__dict__["content"] = unpack()
            return content

    @property
    def key(self) -> tuple[str, str, int]:
        """The key that no other entry of the log has."""
        return self.kind, self.id, self.revision

    @property
    def name(self) -> str:
        """The key as text."""
        return f"{self.kind}/{self.id}#{self.revision}" if self.revision else f"{self.kind}/{self.id}"

    @cached_property
    def fields(self) -> dict[str, Any]:
        """The parsed content.

        Raises:
            StoreError: It is damaged.
        """
        try:
            return decode(self.content)  # type: ignore[no-any-return]  # a mapping, as it was written
        except ValueError as error:
            raise StoreError(f"the log's entry {self.name!r} is damaged ({error}): restore a copy of the log") from error


class _Candidates(msgspec.Struct):
    candidates: list[str]


_candidates = msgspec.json.Decoder(_Candidates)


def candidates_of(row: Row) -> Sequence[str]:
    """Return the candidates of the decision that a row keeps, without parsing the rest."""
    try:
        return _candidates.decode(row.content).candidates
    except (msgspec.MsgspecError, UnicodeEncodeError):  # half a surrogate pair in a text, or damaged
        return row.fields["candidates"]  # type: ignore[no-any-return]  # as decision_row writes it


def columns_of(row: Row) -> Mapping[str, Any]:
    """Return a row's values of ``COLUMNS`` by name; names that its kind has no value for are left out, and an unknown value is None."""
    if row.columns is not None:
        return row.columns
    fields = row.fields
    if row.kind == DECISION:
        return _decision_columns(fields["query"].get("tenant"), user_of(row), episode_of(row), fields["decision"]["propensity"])
    if row.kind == FEEDBACK:
        return {"quality": fields["quality"], "beaten": fields["over"]}
    return _attempt_columns(fields)


def _decision_columns(tenant: str | None, user: str | None, episode: str | None, propensity: float | None) -> Mapping[str, Any]:
    return {"tenant": tenant, "user_id": user, "episode": episode, "propensity": propensity}


def _attempt_columns(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of an attempt from its fields, of which those of later versions may be missing."""
    names = KIND_COLUMNS[ATTEMPT]
    found: dict[str, Any] = dict(zip(names, map(fields.get, names), strict=True))
    found["attempt"] = fields["n"]
    found["status"] = fields.get("status") or _default_status(fields)
    found["cost_source"] = fields.get("cost_source", _default_cost_source(fields)) or None
    return found


def decision_row(record: Record, store_text: bool) -> Row:
    """Return the row of a decision's record.

    Raises:
        StoreError: A note is not of JSON's types.
    """
    fingerprint = request_fingerprint(record)
    query, decision, estimates = record.query, record.decision, record.estimates
    if decision.notes:
        check_plain(decision.notes)
    content = {
        "decision": _decision_fields(decision),
        "query": _query_fields(query) if store_text else _redacted_fields(query),
        "estimates": {
            "complexity": _known(estimates.complexity[0]),
            "categories": estimates.categories[0].tolist(),
            "category_names": estimates.category_names,
            "tool_use": _known(estimates.tool_use[0]),
            "fingerprint": estimates.fingerprint,
        },
        "candidates": record.candidates,
        "expected": _expected_fields(record.expected),
        "wait_ms": record.wait_ms[0].tolist(),
        "masked_why": record.masked_why,
    }
    if not record.preference_given:
        content["preference_given"] = False
    if record.in_flight is not None:
        content["in_flight"] = record.in_flight[0].tolist()
    if record.pressure is not None:
        content["pressure"] = record.pressure[0].tolist()
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
        time=decision.time,
        embedding=None if estimates.embedding is None else estimates.embedding[0].astype(_FLOAT32).tobytes(),
        fingerprint=fingerprint,
        columns=_decision_columns(query.tenant, query.user, decision.episode, _known(decision.propensity)),
        sort=sort_of(decision.router, record.candidates),
    )


def sort_of(router: str, candidates: Iterable[str]) -> str:
    """Return what decisions have in common that are kept as differences from one template: the router and the candidates."""
    return "\n".join((router, *candidates))


def _decision_fields(decision: Decision) -> dict[str, Any]:
    """Return a decision's fields but for its time; several times as fast as :func:`_fields`, for each request that is served."""
    preference = decision.preference
    fields: dict[str, Any] = {
        "id": decision.id,
        "candidate": decision.candidate,
        "propensity": _known(decision.propensity),
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
        "quality": None if expected.quality is None else expected.quality[0].tolist(),
        "cost_usd": expected.cost_usd[0].tolist(),
        "latency_ms": expected.latency_ms[0].tolist(),
        "output_tokens": None if expected.output_tokens is None else expected.output_tokens[0].tolist(),
    }


def _plain(value: Any) -> Any:
    """Return values by candidate's name as a dictionary, which is encoded faster; anything else as it is."""
    return value.to_dict() if type(value) is ByName else value


def decision_from(row: Row) -> Decision:
    """Return the decision that a row keeps."""
    saved = row.fields["decision"]
    read = {"preference": Preference(*saved["preference"]), "propensity": _number(saved["propensity"]), "time": row.time}
    if "utilities" in saved:
        read["utilities"] = {name: _number(value) for name, value in saved["utilities"].items()}
    return Decision(**saved | read)


def record_from(row: Row) -> Record:
    """Return the record that a decision's row keeps."""
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


def user_of(row: Row) -> str | None:
    """Return the user of the decision that a row keeps."""
    return row.fields["query"]["user"]  # type: ignore[no-any-return]  # as decision_row writes it


def episode_of(row: Row) -> str | None:
    """Return the episode of the decision that a row keeps."""
    return row.fields["decision"].get("episode")  # type: ignore[no-any-return]  # as decision_row writes it


def redacted(row: Row) -> Row:
    """Return a decision's row without its prompt."""
    query = query_from(row.fields["query"])
    without = redacted_query(query)
    return row if without.text == query.text and without.turns == query.turns else with_query(row, without)


def fingerprint_bytes(fingerprint: str) -> bytes | None:
    """Return the bytes of a fingerprint's hexadecimal digits; None for an empty one, and for an imported one of another form."""
    try:
        found = bytes.fromhex(fingerprint)
    except ValueError:
        return None
    return found if found and found.hex() == fingerprint else None


def attempt_row(attempt: Attempt, *, feedback_id: str | None = None, call_id: str | None = None) -> Row:
    """Return an attempt as it is kept.

    Args:
        attempt: The attempt; its number may be None, the log's rules then give it one.
        feedback_id: The feedback that it came with; its id is made of this one, and so is never a caller's.
        call_id: The random id of an attempt without a number; by default a new one where there is no number and no feedback.
    """
    if attempt.n is None and feedback_id is None and call_id is None:
        (call_id,) = new_ids(1)
    kept = dict(zip(_ATTEMPT_FIELDS, _read_attempt(attempt), strict=True))
    for name in _FIGURES:
        kept[name] = _known(kept[name])
    for name in _LATER_FIELDS:
        if kept[name] is None:
            del kept[name]
    for name, default in (("status", _default_status(kept)), ("cost_source", _default_cost_source(kept))):
        if kept[name] == default:
            del kept[name]
    own = str(attempt.n)
    for name, key in zip(_CALL_KEYS, (feedback_id, call_id), strict=True):
        if key is not None:
            kept[name] = key
            own = f"{name}/{key}"
    return _unwritten_attempt(f"{attempt.decision_id}/{own}", attempt.decision_id, attempt.candidate, kept, time.time(), _attempt_columns(kept))


def _unwritten_attempt(name: str, decision_id: str, candidate: str, fields: Mapping[str, Any], when: float, columns: Mapping[str, Any]) -> Row:
    """Return an attempt's row that writes its JSON when that is asked for: most attempts get a number first."""
    row = Row(ATTEMPT, name, decision_id, candidate, "", when, columns=columns).unpacked_by(partial(encode, fields))
    row.__dict__["fields"] = fields
    return row


def feedback_attempt_id(feedback: Feedback) -> str:
    """Return the row's id of the attempt that comes with a piece of feedback."""
    return f"{feedback.decision_id}/feedback/{feedback.id}"


def numbered(row: Row, n: int) -> Row:
    """Return an attempt's row with a number."""
    fields, columns = row.fields | {"n": n}, {**columns_of(row), "attempt": n}
    return _unwritten_attempt(row.id, row.decision_id, row.candidate, fields, row.time, columns)


def attempt_from(row: Row) -> Attempt:
    """Return the attempt that a row keeps, with the candidate that was called."""
    saved = {name: value for name, value in row.fields.items() if name not in _CALL_KEYS}
    figures = {name: _number(saved.get(name)) for name in _FIGURES}
    return Attempt(**saved | figures | {"candidate": row.candidate})


def same_attempt(left: Row, right: Row) -> bool:
    """Return whether two rows keep the same call, reported by itself or with feedback."""
    first, second = ({name: value for name, value in row.fields.items() if name not in _CALL_KEYS} for row in (left, right))
    return first == second


def _default_status(fields: Mapping[str, Any]) -> str:
    return "ok" if fields["error"] is None else "error"


def _default_cost_source(fields: Mapping[str, Any]) -> str:
    return "" if fields["cost_usd"] is None else "given"


def feedback_row(feedback: Feedback) -> Row:
    """Return feedback as it is kept; its time is no part of its content, so a later repetition is still the same."""
    return Row(
        kind=FEEDBACK,
        id=feedback.id,
        decision_id=feedback.decision_id,
        candidate=feedback.candidate or "",
        content=encode(_feedback_fields(feedback)),
        time=feedback.time,
        revision=feedback.revision,
        columns={"quality": None if feedback.quality is None else float(feedback.quality), "beaten": feedback.over},
    )


def _feedback_fields(feedback: Feedback) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "decision_id": feedback.decision_id,
        "quality": feedback.quality,
        "candidate": feedback.candidate,
        "over": feedback.over,
        "tie": feedback.tie,
        "confidence": feedback.confidence,
        "weight": feedback.weight,
        "source": feedback.source,
    }
    if feedback.revision:
        fields["revision"] = feedback.revision
    fields["id"] = feedback.id
    return fields


def feedback_from(row: Row) -> Feedback:
    """Return the feedback that a row keeps, with the judged candidate where that is known."""
    return Feedback(**row.fields | {"candidate": row.candidate or None, "time": row.time})


def without_text(record: Record) -> Record:
    """Return a record without its prompt; token count and fingerprint stay."""
    return attrs.evolve(record, query=redacted_query(record.query), fingerprint=request_fingerprint(record))


def redacted_query(query: Query) -> Query:
    """Return a query without its texts; turns keep speaker, model and rating."""
    tokens = query.expected_prompt_tokens
    if not query.turns:
        return attrs.evolve(query, text="", prompt_tokens=tokens)
    turns = [attrs.evolve(turn, content="") for turn in query.turns]
    return attrs.evolve(query, text="", turns=turns, prompt_tokens=tokens)


def with_query(row: Row, query: Query, **changes: Any) -> Row:
    """Return a decision's row with another query, and with changes to its other fields."""
    return attrs.evolve(row, content=encode(row.fields | {"query": _query_fields(query)}), columns=None, **changes)


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


def _redacted_fields(query: Query) -> dict[str, Any]:
    """Return the fields of :func:`redacted_query`, without building the query."""
    fields = _query_fields(query)
    fields["text"], fields["prompt_tokens"] = "", query.expected_prompt_tokens
    return fields | {"turns": [turn | {"content": ""} for turn in fields["turns"]]} if query.turns else fields


def query_from(fields: Mapping[str, Any]) -> Query:
    """Return the query that a decision's row keeps."""
    turns: Sequence[Mapping[str, Any]] = fields.get("turns", ())
    return Query(**{**fields, "turns": [Turn(**turn) for turn in turns]})


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _floats(values: list[Any]) -> Floats:
    return np.array(values, dtype=np.float64)  # None becomes NaN
