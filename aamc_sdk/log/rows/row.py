"""Rows: the entries of the log in stored form, and the conversion of attempts and feedback to and from rows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import attrs
import msgspec

from aamc_sdk.log.rows.json_text import damage_errors, decode_entry, encode, null_if_unknown
from aamc_sdk.types import Attempt, Feedback, lazy_property, new_ids
from aamc_sdk.types.decisions import default_cost_source, default_status

DECISION, ATTEMPT, FEEDBACK = "decision", "attempt", "feedback"
"""The kinds of entries."""
_TEXT, _NUMBER, _COUNT = "TEXT", "DOUBLE PRECISION", "BIGINT"
KIND_COLUMNS: Mapping[str, Mapping[str, str]] = {
    DECISION: {"tenant": _TEXT, "user_id": _TEXT, "episode": _TEXT, "propensity": _NUMBER},
    FEEDBACK: {"quality": _NUMBER, "beaten": _TEXT},
    ATTEMPT: {
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
    },
}
"""Columns of each kind of entry in SQL stores, with their types, so that queries need not read the JSON: see :func:`columns_of`. An attempt's error
is in the JSON only, since a database may refuse its characters."""
COLUMNS: Mapping[str, str] = {**KIND_COLUMNS[DECISION], **KIND_COLUMNS[FEEDBACK], **KIND_COLUMNS[ATTEMPT]}
"""The columns of all kinds; those of another kind are NULL."""
_FIGURES = ("cost_usd", "latency_ms", "first_token_ms")
_LATER_FIELDS = ("first_token_ms", "prompt_tokens", "cached_tokens", "reasoning_tokens")
"""Fields of an attempt that version 0.1 did not have; left out if they are unknown."""
_FEEDBACK_FIELDS = tuple(field.name for field in attrs.fields(Feedback) if field.name != "time")
_ORIGIN_KEYS = ("feedback", "call")
"""Keys of an attempt's JSON besides its fields: the id of the feedback that it came with, or the random id of an attempt that came without a
number. Its own id is made of them."""


class _Candidates(msgspec.Struct):
    candidates: list[str]


_fields: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])
_candidates = msgspec.json.Decoder(_Candidates)


def _text(content: str | Callable[[], str]) -> str:
    return content if isinstance(content, str) else content()


@attrs.frozen(slots=False)
class Row:
    """One entry of the log in stored form: JSON, the embedding as bytes, and columns.

    Attributes:
        kind: ``DECISION``, ``ATTEMPT`` or ``FEEDBACK``.
        id: Its own id; kind, id and revision are unique.
        decision_id: The decision that it is or refers to.
        candidate: The candidate that it is about; ``""`` if the caller gave none and the decision is not in the log yet.
        content: The JSON; two entries are the same if their contents are. A function is called when the content is first read.
        time: Its time, in seconds since the epoch.
        embedding: The query's embedding as little-endian float32, or None.
        revision: The revision of feedback; 0 for other entries.
        fingerprint: The fingerprint of a decision's request; ``""`` if it is unknown or was erased.
        columns: The values of ``COLUMNS`` by name; None to read them from the content.
    """

    kind: str
    id: str
    decision_id: str
    candidate: str
    _content: str | Callable[[], str] = attrs.field(eq=_text, repr=_text)
    time: float
    embedding: bytes | None = None
    revision: int = 0
    fingerprint: str = ""
    columns: Mapping[str, Any] | None = attrs.field(default=None, eq=False, repr=False)

    @property
    def content(self) -> str:
        """The JSON."""
        content = self.__dict__["_content"] = _text(self._content)
        return content

    def with_fields(self, fields: dict[str, Any]) -> Row:
        """Return this row with other content, which is encoded when it is first read."""
        row = self.copy()
        row.__dict__.update(fields=fields, columns=None, _content=partial(encode, fields))
        return row

    def with_candidate(self, candidate: str) -> Row:
        """Return this row about a candidate, with the parsed content; ``attrs.evolve`` takes several times as long."""
        if self.candidate == candidate:
            return self
        row = self.copy()
        row.__dict__["candidate"] = candidate
        return row

    def copy(self) -> Row:
        """Return this row as another object, with a separate cache of its parsed content."""
        row = object.__new__(Row)
        row.__dict__.update(self.__dict__)
        return row

    @property
    def key(self) -> tuple[str, str, int]:
        """The key that no other entry of the log has."""
        return self.kind, self.id, self.revision

    @property
    def name(self) -> str:
        """The key as text."""
        return f"{self.kind}/{self.id}#{self.revision}" if self.revision else f"{self.kind}/{self.id}"

    @lazy_property
    def fields(self) -> dict[str, Any]:
        """The parsed content.

        Raises:
            StoreError: It is damaged.
        """
        return decode_entry(self.content, _fields, self.name)


Addition = tuple[Row, ...]
"""Rows that are added together, all or none: one entry, or an attempt and the feedback that it came with, which stands last."""


def candidates_of(row: Row) -> Sequence[str]:
    """Return the candidates of the decision that a row keeps, without parsing the rest."""
    return decode_entry(row.content, _candidates, row.name).candidates


def columns_of(row: Row) -> Mapping[str, Any]:
    """Return a row's values of ``COLUMNS`` by name; names that its kind has no value for are left out, and an unknown value is None.

    Raises:
        StoreError: The content is damaged.
    """
    if row.columns is not None:
        return row.columns
    with damage_errors(row.name):
        return columns_from(row.kind, row.fields)


def columns_from(kind: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the columns of an entry from its fields; fields of later versions may be missing."""
    if kind == DECISION:
        query, decision = fields["query"], fields["decision"]
        return {"tenant": query.get("tenant"), "user_id": query.get("user"), "episode": decision.get("episode"), "propensity": decision["propensity"]}
    if kind == FEEDBACK:
        return {"quality": None if fields["quality"] is None else float(fields["quality"]), "beaten": fields["over"]}
    found = {name: fields.get(name) for name in KIND_COLUMNS[ATTEMPT]}
    found["attempt"] = fields["n"]
    found["status"] = fields.get("status") or default_status(fields["error"])
    found["cost_source"] = fields.get("cost_source", default_cost_source(fields["cost_usd"])) or None
    return found


def fingerprint_bytes(fingerprint: str) -> bytes | None:
    """Return the bytes of a fingerprint's hexadecimal digits; None for an empty one, and for an imported one of another form."""
    try:
        found = bytes.fromhex(fingerprint)
    except ValueError:
        return None
    return found if found and found.hex() == fingerprint else None


def attempt_row(attempt: Attempt, *, feedback_id: str | None = None, random_id: str | None = None) -> Row:
    """Return an attempt's row; if it has no number, the log's rules give it one.

    Its id is made of its number, of the id of the feedback that it came with, or of a random id, which is made if there is none of these.
    """
    if attempt.n is None and feedback_id is None and random_id is None:
        (random_id,) = new_ids(1)
    fields = attempt.__dict__.copy()
    for name in _FIGURES:
        fields[name] = null_if_unknown(fields[name])
    for name in _LATER_FIELDS:
        if fields[name] is None:
            del fields[name]
    for name, default in (("status", default_status(fields["error"])), ("cost_source", default_cost_source(fields["cost_usd"]))):
        if fields[name] == default:
            del fields[name]
    own = str(attempt.n)
    for name, key in zip(_ORIGIN_KEYS, (feedback_id, random_id), strict=True):
        if key is not None:
            fields[name] = key
            own = f"{name}/{key}"
    row = Row(ATTEMPT, f"{attempt.decision_id}/{own}", attempt.decision_id, attempt.candidate, content="", time=time.time())
    return row.with_fields(fields)


def attempt_from(row: Row) -> Attempt:
    """Return the attempt of a row, with the candidate that was called."""
    saved = {**row.fields, "candidate": row.candidate}
    for name in _ORIGIN_KEYS:
        saved.pop(name, None)
    for name in _FIGURES:
        if saved.get(name) is None:
            saved[name] = math.nan
    return Attempt(**saved)


def same_attempt(left: Row, right: Row) -> bool:
    """Return whether two rows keep the same attempt, recorded by itself or with feedback."""
    first, second = ({name: value for name, value in row.fields.items() if name not in _ORIGIN_KEYS} for row in (left, right))
    return first == second


def feedback_row(feedback: Feedback) -> Row:
    """Return the row of feedback; its time is not part of the content, so a later repetition is still the same."""
    fields = {name: getattr(feedback, name) for name in _FEEDBACK_FIELDS}
    if not feedback.revision:
        del fields["revision"]
    return Row(
        kind=FEEDBACK,
        id=feedback.id,
        decision_id=feedback.decision_id,
        candidate=feedback.candidate or "",
        content=encode(fields),
        time=float(feedback.time),  # SQLite and Redis do not take NumPy's numbers
        revision=feedback.revision,
        columns=columns_from(FEEDBACK, fields),
    )


def feedback_addition(feedback: Feedback, attempt: Attempt | None) -> Addition:
    """Return feedback with the attempt that came with it, which the log numbers."""
    row = feedback_row(feedback)
    return (row,) if attempt is None else (attempt_row(attrs.evolve(attempt, n=None), feedback_id=feedback.id), row)


def feedback_from(row: Row) -> Feedback:
    """Return the feedback of a row, with the judged candidate if it is known."""
    return Feedback(**row.fields | {"candidate": row.candidate or None, "time": row.time})
