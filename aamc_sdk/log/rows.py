"""What the log's entries look like in storage: plain JSON, and an embedding's float32 bytes.

A prompt is not kept unless the store's ``store_text`` option is set: its text then reads as ``""``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import time
from functools import cached_property
from typing import Any

import attrs
import numpy as np

from aamc_sdk.config import option
from aamc_sdk.errors import StoreError
from aamc_sdk.storage import plain, to_json
from aamc_sdk.types import Attempt, Decision, Estimates, Feedback, Floats, Outcomes, Preference, Query, Record

DECISION, ATTEMPT, FEEDBACK = "decision", "attempt", "feedback"
"""The kinds of entries in the log."""
_FLOAT32 = np.dtype("<f4")
_FIGURES = ("cost_usd", "latency_ms", "first_token_ms")


@attrs.frozen(kw_only=True)
class StoreOptions:
    """The options of the stores that the core ships."""

    store_text: bool = option(False, "Whether prompts are kept in the log; without it only their estimates and token counts are.")


@attrs.frozen(slots=False)
class Row:
    """One entry of the log, as it is kept.

    Attributes:
        kind: ``DECISION``, ``ATTEMPT`` or ``FEEDBACK``.
        id: Its own id, unique among those of its kind.
        decision_id: The decision that it is, or that it names.
        candidate: Whom it is about; ``""`` where the caller did not say and the decision has not come.
        content: JSON; two entries are the same when their contents are.
        time: When it was made, in seconds since the epoch.
        embedding: The query's embedding as little-endian float32, or None.
    """

    kind: str
    id: str
    decision_id: str
    candidate: str
    content: str
    time: float
    embedding: bytes | None = None

    @property
    def name(self) -> str:
        """What tells it from all other entries of the log."""
        return f"{self.kind}/{self.id}"

    @cached_property
    def fields(self) -> dict[str, Any]:
        """The content, read.

        Raises:
            StoreError: It is damaged.
        """
        try:
            return json.loads(self.content)  # type: ignore[no-any-return]  # a mapping, as it was written
        except ValueError as error:
            raise StoreError(f"the log's entry {self.name!r} is damaged ({error}): restore a copy of the log") from error


def decision_row(record: Record, store_text: bool) -> Row:
    """Return a decision, with what it was made from, as it is kept.

    Raises:
        StoreError: A note is not of JSON's types.
    """
    record = record if store_text else without_text(record)
    decision, estimates = record.decision, record.estimates
    content = {
        "decision": _fields(decision, "time") | {"preference": decision.preference.array, "propensity": _known(decision.propensity)},
        "query": _fields(record.query),
        "estimates": {
            "complexity": _known(estimates.complexity[0]),
            "categories": estimates.categories[0],
            "category_names": estimates.category_names,
            "tool_use": _known(estimates.tool_use[0]),
            "fingerprint": estimates.fingerprint,
        },
        "candidates": record.candidates,
        "expected": {name: None if array is None else array[0] for name, array in _fields(record.expected).items()},
        "wait_ms": record.wait_ms[0],
        "masked_why": record.masked_why,
    } | ({} if record.preference_given else {"preference_given": False})
    return Row(
        kind=DECISION,
        id=decision.id,
        decision_id=decision.id,
        candidate=decision.candidate,
        content=_json(content),
        time=decision.time,
        embedding=None if estimates.embedding is None else estimates.embedding[0].astype(_FLOAT32).tobytes(),
    )


def record_from(row: Row) -> Record:
    """Return the record that a decision's row keeps."""
    content = row.fields
    saved, estimates, expected = content["decision"], content["estimates"], content["expected"]
    return Record(
        decision=Decision(**saved | {"preference": Preference(*saved["preference"]), "propensity": _number(saved["propensity"]), "time": row.time}),
        query=Query(**content["query"]),
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
    )


def user_of(row: Row) -> str | None:
    """Return who asked for the decision that a row keeps."""
    return row.fields["query"]["user"]  # type: ignore[no-any-return]  # as decision_row writes it


def unspoken(row: Row) -> Row:
    """Return a decision's row without its prompt."""
    if not row.fields["query"]["text"]:
        return row
    asked = _unspoken(Query(**row.fields["query"]))
    return attrs.evolve(row, content=_json(row.fields | {"query": _fields(asked)}))


def erased(row: Row) -> Row:
    """Return a decision's row without who asked, in which session, and what."""
    asked = attrs.evolve(_unspoken(Query(**row.fields["query"])), user=None, session=None)
    return attrs.evolve(row, content=_json(row.fields | {"query": _fields(asked)}), embedding=None)


def forgotten_as(user: str) -> str:
    """Return what stays of a user who was forgotten: a digest, by which what others have kept under that name can be told."""
    return hashlib.sha256(f"forgotten by aamc: {user}".encode(errors="surrogatepass")).hexdigest()


def attempt_row(attempt: Attempt, feedback_id: str | None = None) -> Row:
    """Return an attempt as it is kept; one that came with feedback has that one's id, and so never a caller's."""
    came_with = {} if feedback_id is None else {"feedback": feedback_id}
    return Row(
        kind=ATTEMPT,
        id=f"{attempt.decision_id}/{attempt.n}" if feedback_id is None else f"{attempt.decision_id}/feedback/{feedback_id}",
        decision_id=attempt.decision_id,
        candidate=attempt.candidate,
        content=_json(_fields(attempt) | {name: _known(getattr(attempt, name)) for name in _FIGURES} | came_with),
        time=time.time(),
    )


def attempt_from(row: Row) -> Attempt:
    """Return the attempt that a row keeps, with the candidate that was called."""
    saved = {name: value for name, value in row.fields.items() if name != "feedback"}
    figures = {name: _number(saved[name]) for name in _FIGURES}
    return Attempt(**saved | figures | {"candidate": row.candidate})


def feedback_row(feedback: Feedback) -> Row:
    """Return feedback as it is kept; its time is no part of its content, so a later repetition is still the same."""
    return Row(
        kind=FEEDBACK,
        id=feedback.id,
        decision_id=feedback.decision_id,
        candidate=feedback.candidate or "",
        content=_json(_fields(feedback, "time")),
        time=feedback.time,
    )


def feedback_from(row: Row) -> Feedback:
    """Return the feedback that a row keeps, with the candidate that it judges where that is known."""
    return Feedback(**row.fields | {"candidate": row.candidate or None, "time": row.time})


def without_text(record: Record) -> Record:
    """Return a record without its prompt, whose tokens it still counts."""
    return attrs.evolve(record, query=_unspoken(record.query))


def _unspoken(query: Query) -> Query:
    return attrs.evolve(query, text="", prompt_tokens=query.expected_prompt_tokens)


def _fields(instance: Any, *left_out: str) -> dict[str, Any]:
    values: dict[str, Any] = attrs.asdict(instance, recurse=False)
    return {name: value for name, value in values.items() if name not in left_out}


def _json(content: dict[str, Any]) -> str:
    with contextlib.suppress(TypeError, ValueError):  # NaN in a note: looking for it in every entry would take longer than writing one
        return json.dumps(content, allow_nan=False, default=plain)
    try:
        return to_json(content)
    except TypeError as error:
        raise StoreError(f"the log keeps JSON's own types only ({error}); use numbers, text, lists and mappings in notes") from error


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _floats(values: list[Any]) -> Floats:
    return np.array(values, dtype=np.float64)  # None becomes NaN
