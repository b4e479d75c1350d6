"""The notes of decisions in trials, and the comparison of a judged decision."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from aamc_bandit.trials import canary, shadow
from aamc_bandit.trials.trial_statistics import MIN_BOUND, JudgedDecision


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


class FeedbackEntry(msgspec.Struct, gc=False):
    """The quality that feedback gives, and its weight."""

    quality: float | None = None
    confidence: float = 1.0
    weight: float = 1.0


CONTENT, CALL, FEEDBACK = msgspec.json.Decoder(NotedContent), msgspec.json.Decoder(CallEntry), msgspec.json.Decoder(FeedbackEntry)
"""Decoders of the contents of decisions, calls and feedback."""


def notes_of(decision: NotedDecision) -> Iterator[tuple[str, TrialNote]]:
    """Yield the notes of a decision with the kind of each: canary or shadow."""
    if decision.notes.canary is not None:
        yield canary.NOTE, decision.notes.canary
    if decision.notes.shadow is not None:
        yield shadow.NOTE, decision.notes.shadow


def served_by(note: TrialNote, decision_id: str, candidate: str) -> str:
    """Return the router that served a canary's decision, see :func:`aamc_bandit.trials.canary.served_by`."""
    if note.ended is not None or note.candidate.error is not None:
        return "stable"
    if note.role is not None:
        return note.role
    stable, new = ((role.probabilities or {}).get(candidate, 0.0) for role in (note.stable, note.candidate))
    return canary.drawn_role(decision_id, (1 - note.share) * stable, note.share * new)


def known_bound(kind: str, note: TrialNote) -> float:
    """Return a bound of |g| for every request: a canary's share gives one, unless one of the routers never serves."""
    share = note.share if kind == canary.NOTE else 0.0
    return max(1 / share, 1 / (1 - share)) if 0 < share < 1 else MIN_BOUND


def compare(kind: str, note: TrialNote, decision: NotedDecision, judged: str, quality: float) -> JudgedDecision | str:
    """Return a judged decision as a judgement, or the reason why it cannot be compared."""
    if judged != decision.candidate:
        return "fallback"
    if decision.propensity is None or math.isnan(decision.propensity):
        return "propensity_unknown"
    candidate = note.candidate.probabilities
    if not candidate:
        return "candidate_failed"
    drawn = _mixture(note) if note.role is not None else decision.probabilities or {decision.candidate: 1.0}
    possible = drawn if min(drawn.values()) > 0 else {name: probability for name, probability in drawn.items() if probability > 0}
    stable = (note.stable.probabilities or {}) if kind == canary.NOTE else possible
    news, olds = _aligned(candidate, [*possible]), _aligned(stable, [*possible])
    if news is None or olds is None:
        return "no_overlap"
    bound = max([abs((new - old) / probability) for new, old, probability in zip(news, olds, possible.values(), strict=True)])
    chosen = possible[decision.candidate]
    return JudgedDecision(quality, stable.get(decision.candidate, 0.0) / chosen, candidate.get(decision.candidate, 0.0) / chosen, bound)


def _aligned(side: dict[str, float], names: Sequence[str]) -> Iterable[float] | None:
    """Return probabilities in the order of names, 0 for names without one; None where others have one."""
    if [*side] == names:
        return side.values()
    return [side.get(name, 0.0) for name in names] if side.keys() <= set(names) else None


def _mixture(note: TrialNote) -> dict[str, float]:
    """Return the choice probabilities of a canary's decision before its user was assigned to a router."""
    stable, candidate, share = note.stable.probabilities or {}, note.candidate.probabilities or {}, note.share
    return {name: (1 - share) * stable.get(name, 0.0) + share * candidate.get(name, 0.0) for name in {**stable, **candidate}}
