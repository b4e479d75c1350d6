"""The log's entries as rows: plain JSON, an embedding's float32 bytes, and columns for queries that need no JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from aamc_sdk.log.json_text import decoded
from aamc_sdk.types.decisions import default_cost_source, default_status

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


class _Candidates(msgspec.Struct):
    candidates: list[str]


_fields: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder()
_candidates = msgspec.json.Decoder(_Candidates)


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

    def unpacked_by(self, unpack: Callable[[], str]) -> Row:
        """Return this row, whose content a function returns when it is first asked for."""
        del self.__dict__["content"]
        self.__dict__["_unpack"] = unpack
        return self

    def with_candidate(self, candidate: str) -> Row:
        """Return this row about a candidate, with what is known of its content; ``attrs.evolve`` takes several times as long."""
        if self.candidate == candidate:
            return self
        row = self.copy()
        row.__dict__["candidate"] = candidate
        return row

    def copy(self) -> Row:
        """Return this row as another object, which keeps what it parses of its content to itself."""
        row = object.__new__(Row)
        row.__dict__.update(self.__dict__)
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
        return decoded(_fields, self.content, self.name)


def candidates_of(row: Row) -> Sequence[str]:
    """Return the candidates of the decision that a row keeps, without parsing the rest."""
    return decoded(_candidates, row.content, row.name).candidates


def columns_of(row: Row) -> Mapping[str, Any]:
    """Return a row's values of ``COLUMNS`` by name; names that its kind has no value for are left out, and an unknown value is None."""
    return columns_from(row.kind, row.fields) if row.columns is None else row.columns


def columns_from(kind: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the columns of an entry from its fields, of which those of later versions may be missing."""
    if kind == DECISION:
        query, decision = fields["query"], fields["decision"]
        return {"tenant": query.get("tenant"), "user_id": query["user"], "episode": decision.get("episode"), "propensity": decision["propensity"]}
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
