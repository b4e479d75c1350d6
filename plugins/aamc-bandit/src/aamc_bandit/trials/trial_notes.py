"""The notes of decisions in trials."""

from __future__ import annotations

import msgspec

from aamc_sdk.routing import uniform

CANARY, SHADOW = "canary", "shadow"
"""The kinds of trials: the keys of their notes."""


class RoleNote(msgspec.Struct, gc=False):
    """One of a trial's two routers, as a decision's note has it."""

    router: str
    version: str = ""
    probabilities: dict[str, float] | None = None
    error: str | None = None


class TrialNote(msgspec.Struct, gc=False):
    """A decision's note of a canary or shadow."""

    stable: RoleNote
    candidate: RoleNote
    share: float = 0.0
    role: str | None = None
    ended: str | None = None


class TrialNotes(msgspec.Struct, gc=False):
    """The notes of a decision that belong to trials."""

    canary: TrialNote | None = None
    shadow: TrialNote | None = None


class NotedDecision(msgspec.Struct, gc=False):
    """The fields of a decision that a trial reads."""

    candidate: str
    propensity: float | None = None
    probabilities: dict[str, float] = {}
    notes: TrialNotes = msgspec.field(default_factory=TrialNotes)


class CallEntry(msgspec.Struct, gc=False):
    """The end of a call."""

    status: str | None = None
    error: str | None = None


class NotedQuery(msgspec.Struct, gc=False):
    """The user of a request."""

    user: str | None = None
    tenant: str | None = None


class NotedContent(msgspec.Struct, gc=False):
    """The content of a decision's row, as far as a trial reads it."""

    decision: NotedDecision
    query: NotedQuery
    candidates: list[str] = []
    masked_why: dict[str, str] = {}

    @property
    def has_choice(self) -> bool:
        """Whether the routers could choose: a request that names a model, for example, allows one candidate only."""
        return len(self.candidates) - len(self.masked_why) != 1


class FeedbackEntry(msgspec.Struct, gc=False):
    """The quality that feedback gives, its source and its weight."""

    quality: float | None = None
    source: str = "explicit"
    confidence: float = 1.0
    weight: float = 1.0


CONTENT, CALL, FEEDBACK = msgspec.json.Decoder(NotedContent), msgspec.json.Decoder(CallEntry), msgspec.json.Decoder(FeedbackEntry)
"""Decoders of the contents of decisions, calls and feedback."""


def serving_role(note: TrialNote, decision_id: str, candidate: str) -> str:
    """Return the router that served a canary's decision, ``"stable"`` or ``"candidate"``.

    If the challenger failed to score, the stable router served the decision. If only one router could have chosen the model, that one served
    it. If both could, a number derived from the decision's id selects one with the right odds, so that the answer never changes.
    """
    if note.ended is not None or note.candidate.error is not None:
        return "stable"
    if note.role is not None:
        return note.role
    stable, new = ((role.probabilities or {}).get(candidate, 0.0) for role in (note.stable, note.candidate))
    stable, new = (1 - note.share) * stable, note.share * new
    if stable == 0 or new == 0:
        return "candidate" if new else "stable"
    return "candidate" if uniform(0, f"{decision_id}/{CANARY}") * (stable + new) < new else "stable"
