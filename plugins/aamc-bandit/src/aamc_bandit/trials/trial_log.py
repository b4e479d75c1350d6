"""The trials of a log: read entry by entry, and kept, so that the next report reads later entries only.

The statistics that are kept are exact: a report that goes on from them equals one that reads the whole log. They are a snapshot in the log,
so retention drops no entry that a report has not counted, as long as reports are made. They name no user and no decision, only digests of these.
"""

from __future__ import annotations

import hashlib
import logging
import math
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import msgspec
import numpy as np

from aamc_bandit.trials import canary, shadow
from aamc_bandit.trials.trial_statistics import MIN_BOUND, Judgement, Trial
from aamc_sdk.interfaces import Store
from aamc_sdk.log import ATTEMPT, DECISION, Batch, Row, decoded, is_within, read_batches, user_digest
from aamc_sdk.types import Snapshot

logger = logging.getLogger(__name__)
STATE_SCHEMA = 1
"""The version of the statistics that are kept."""
_FAILED, _ANSWERED = 1, 2
_ENDS = {"error": _FAILED, "ok": _ANSWERED}
_DIGEST = 16


class _Notes(msgspec.Struct, gc=False):
    canary: dict[str, Any] | None = None
    shadow: dict[str, Any] | None = None


class _Decision(msgspec.Struct, gc=False):
    candidate: str
    propensity: float | None = None
    probabilities: dict[str, float] = {}
    notes: _Notes = msgspec.field(default_factory=_Notes)


class _Call(msgspec.Struct, gc=False):
    status: str | None = None
    error: str | None = None


class _Query(msgspec.Struct, gc=False):
    user: str | None = None


class _Content(msgspec.Struct, gc=False):
    decision: _Decision
    query: _Query


class _Judged(msgspec.Struct, gc=False):
    quality: float | None = None
    confidence: float = 1.0
    weight: float = 1.0


_CONTENT, _CALL, _JUDGED = msgspec.json.Decoder(_Content), msgspec.json.Decoder(_Call), msgspec.json.Decoder(_Judged)
_NOTES = (canary.NOTE, shadow.NOTE)


class _SavedTrial(msgspec.Struct):
    kind: str
    labels: tuple[str, str]
    versions: tuple[str, str]
    judgements: bytes
    served: dict[str, int]
    left_out: dict[str, int]
    bound: float
    ended: str | None
    users: list[str]


class _Saved(msgspec.Struct):
    schema: int
    start: int
    trials: list[_SavedTrial]
    judged: bytes
    calls: dict[bytes, int]


@attrs.define(eq=False)
class TrialLog:
    """The trials of a log up to a position.

    Attributes:
        failure_quality: The outcome of a judged decision whose chosen candidate's call failed; None leaves such decisions out.
        since: Time of the first decisions, in seconds since the epoch; None for all.
        until: Time before which decisions were made; None for all.
        position: The position up to which the log was read.
        last: The name of the entry at that position; None where it is not known.
        epoch: The log's epoch.
        start: The position up to which retention had dropped entries before they were read.
        entries: Number of entries that were read now.
    """

    failure_quality: float | None = 0.0
    since: float | None = None
    until: float | None = None
    position: int = 0
    last: str | None = None
    epoch: int = 0
    start: int = 0
    entries: int = 0
    _trials: dict[tuple[str, ...], Trial] = attrs.field(factory=dict)
    _users: defaultdict[tuple[str, ...], set[str]] = attrs.field(factory=lambda: defaultdict(set))
    _judged: set[bytes] = attrs.field(factory=set)
    _calls: dict[bytes, int] = attrs.field(factory=dict)

    @property
    def trials(self) -> list[Trial]:
        """The trials, in the order of their first decisions."""
        return list(self._trials.values())

    @property
    def snapshot_name(self) -> str:
        """The name of the snapshot that keeps the statistics."""
        return f"canary report {STATE_SCHEMA}, failures {self.failure_quality}"

    def read(self, store: Store) -> bool:
        """Read the entries after the position; return whether they are of the same log, without a user forgotten meanwhile."""
        for batch in read_batches(store, self.position):
            if self.position and (batch.epoch != self.epoch or (batch.follows is not None and batch.follows != self.last)):
                return False
            self.epoch = batch.epoch
            self._read_batch(batch)
            self.start = max(self.start, batch.start) if self.position < batch.start else self.start
            self.position, self.entries = batch.position, self.entries + len(batch.rows)
            self.last = batch.last or (batch.rows[-1].name if batch.rows else self.last)
        return True

    def _read_batch(self, batch: Batch) -> None:
        known: dict[str, _Content | None] = {}
        rows = {row.id: row for row in batch.decisions}
        for row in batch.rows:
            decision_id = row.decision_id
            if decision_id not in known:
                known[decision_id] = self._content(rows.get(decision_id))
            content = known[decision_id]
            if content is None:
                continue
            if row.kind == DECISION:
                self._count_served(row.id, content.decision)
            elif (key := _digest(decision_id)) not in self._judged:
                self._add_entry(row, key, content)

    def _content(self, row: Row | None) -> _Content | None:
        """Return what a decision of a trial was made from; None for other decisions."""
        if row is None or not any(note in row.content for note in _NOTES) or not is_within(row.time, self.since, self.until):
            return None
        content = decoded(_CONTENT, row.content, row.name)
        return content if any(True for _ in _notes(content.decision)) else None

    def _add_entry(self, row: Row, key: bytes, content: _Content) -> None:
        """Add an attempt or feedback on a decision that has no judgement yet."""
        decision = content.decision
        if row.kind == ATTEMPT:
            if row.candidate == decision.candidate:
                call = decoded(_CALL, row.content, row.name)
                ended = call.status or ("ok" if call.error is None else "error")
                self._calls[key] = self._calls.get(key, 0) | _ENDS.get(ended, 0)
            return
        feedback = decoded(_JUDGED, row.content, row.name)
        if feedback.quality is None or not feedback.weight * feedback.confidence > 0:
            return
        self._judged.add(key)
        has_failed = self._calls.pop(key, 0) == _FAILED and row.candidate != decision.candidate and self.failure_quality is not None
        judged, quality = (decision.candidate, self.failure_quality) if has_failed else (row.candidate, feedback.quality)
        for kind, note in _notes(decision):
            self._judge(kind, note, content, judged, quality or 0.0)

    def _count_served(self, decision_id: str, decision: _Decision) -> None:
        of_canary = decision.notes.canary
        role = "stable" if of_canary is None else canary.serving_role(of_canary, decision_id, decision.candidate)
        for kind, note in _notes(decision):
            trial = self._trial(kind, note)
            if "ended" in note:
                trial.ended = note["ended"]
            else:
                trial.served[role] += 1

    def _judge(self, kind: str, note: Mapping[str, Any], content: _Content, judged: str, quality: float) -> None:
        """Add the first judgement of a decision to a trial."""
        trial, user = self._trial(kind, note), content.query.user
        if "ended" in note:
            trial.ended = note["ended"]
            return
        if "role" in note:  # users were assigned to the routers
            digest = None if user is None else user_digest(user)
            if digest is None or digest in self._users[_key(kind, note)]:
                trial.left_out["user_forgotten" if digest is None else "user_counted"] += 1
                return
            self._users[_key(kind, note)].add(digest)
        compared = _compared(kind, note, content.decision, judged, quality)
        if isinstance(compared, str):
            trial.left_out[compared] += 1
        else:
            trial.add(compared, _known_bound(kind, note))

    def _trial(self, kind: str, note: Mapping[str, Any]) -> Trial:
        key = _key(kind, note)
        if key not in self._trials:
            self._trials[key] = Trial(*key[:3], stable_version=key[3], candidate_version=key[4])
        return self._trials[key]

    def saved(self) -> Snapshot:
        """Return the statistics as a snapshot."""
        trials = [
            _SavedTrial(
                trial.kind,
                (trial.stable, trial.candidate),
                (trial.stable_version, trial.candidate_version),
                np.array(trial.judgements, dtype="<f8").tobytes(),
                dict(trial.served),
                dict(trial.left_out),
                trial.bound,
                trial.ended,
                sorted(self._users[key]),
            )
            for key, trial in self._trials.items()
        ]
        content = msgspec.msgpack.encode(_Saved(STATE_SCHEMA, self.start, trials, b"".join(sorted(self._judged)), self._calls))
        return Snapshot(self.position, zlib.compress(content, 1), self.epoch, self.last or "")

    def restore(self, snapshot: Snapshot) -> None:
        """Take over the statistics of a snapshot.

        Raises:
            ValueError: It cannot be read.
        """
        try:
            saved = msgspec.msgpack.decode(zlib.decompress(snapshot.content), type=_Saved)
        except (zlib.error, msgspec.MsgspecError) as error:
            raise ValueError(str(error)) from error
        self.position, self.epoch, self.last, self.start = snapshot.position, snapshot.epoch, snapshot.last or None, saved.start
        self._judged = {saved.judged[start : start + _DIGEST] for start in range(0, len(saved.judged), _DIGEST)}
        self._calls = saved.calls
        for each in saved.trials:
            trial = Trial(each.kind, *each.labels, stable_version=each.versions[0], candidate_version=each.versions[1])
            trial.judgements = [Judgement(*values) for values in np.frombuffer(each.judgements, "<f8").reshape(-1, 4).tolist()]
            trial.served, trial.left_out = Counter(each.served), Counter(each.left_out)
            trial.bound, trial.ended = each.bound, each.ended
            key = (each.kind, *each.labels, *each.versions)
            self._trials[key], self._users[key] = trial, set(each.users)


def read_trials(store: Store, failure_quality: float | None = 0.0, since: float | None = None, until: float | None = None) -> TrialLog:
    """Return the trials of a whole log.

    Args:
        store: The log.
        failure_quality: The outcome of a judged decision whose chosen candidate's call failed; None leaves such decisions out.
        since: Time of the first decisions, in seconds since the epoch; None for all.
        until: Time before which decisions were made; None for all.
    """
    while not (found := TrialLog(failure_quality, since, until)).read(store):
        pass  # a user was forgotten meanwhile
    return found


def continue_trials(store: Store, failure_quality: float | None = 0.0) -> TrialLog:
    """Return the trials of a log, from the statistics that an earlier call kept in it and the entries after these, and keep the new ones.

    The result is that of :func:`read_trials`. If the statistics are of another log or cannot be read, the whole log is read.
    """
    found = TrialLog(failure_quality)
    kept = store.snapshot(found.snapshot_name)
    if kept is not None and not _continued(found, store, kept):
        kept, found = None, read_trials(store, failure_quality)
    elif kept is None:
        found = read_trials(store, failure_quality)
    store.put_snapshot(found.snapshot_name, found.saved())
    return found


def _continued(found: TrialLog, store: Store, kept: Snapshot) -> bool:
    """Restore statistics and read the entries after them; return whether that was possible."""
    try:
        found.restore(kept)
    except ValueError as error:
        logger.warning("the statistics of the last report cannot be read (%s), so the whole log is", error)
        return False
    epoch = next(read_batches(store, found.position)).epoch
    if epoch != found.epoch:  # a floor: a user was forgotten, and the entries before it are gone
        found.epoch = epoch
        store.put_snapshot(found.snapshot_name, found.saved())
    return found.read(store)


def _digest(name: str) -> bytes:
    return hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=_DIGEST).digest()


def _key(kind: str, note: Mapping[str, Any]) -> tuple[str, ...]:
    return (kind, *(note[role].get(name, "") for name in ("router", "version") for role in ("stable", "candidate")))


def _notes(decision: _Decision) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for kind in _NOTES:
        note = getattr(decision.notes, kind)
        if note is not None:
            yield kind, note


def _known_bound(kind: str, note: Mapping[str, Any]) -> float:
    """Return a bound of |g| for every request: a canary's share gives one, unless one of the routers never serves."""
    share = note["share"] if kind == canary.NOTE else 0.0
    return max(1 / share, 1 / (1 - share)) if 0 < share < 1 else MIN_BOUND


def _compared(kind: str, note: Mapping[str, Any], decision: _Decision, judged: str, quality: float) -> Judgement | str:
    """Return a judged decision as a judgement, or the reason why it cannot be compared."""
    if judged != decision.candidate:
        return "fallback"
    if decision.propensity is None or math.isnan(decision.propensity):
        return "propensity_unknown"
    candidate = note["candidate"].get("probabilities")
    if not candidate:
        return "candidate_failed"
    drawn = _mixture(note) if "role" in note else decision.probabilities or {decision.candidate: 1.0}
    possible = {name: probability for name, probability in drawn.items() if probability > 0}
    stable = note["stable"]["probabilities"] if kind == canary.NOTE else possible
    if not {*stable, *candidate} <= possible.keys():
        return "no_overlap"
    gains = [(candidate.get(name, 0.0) - stable.get(name, 0.0)) / probability for name, probability in possible.items()]
    chosen = possible[decision.candidate]
    return Judgement(
        quality=quality,
        stable=stable.get(decision.candidate, 0.0) / chosen,
        candidate=candidate.get(decision.candidate, 0.0) / chosen,
        bound=max(map(abs, gains)),
    )


def _mixture(note: Mapping[str, Any]) -> dict[str, float]:
    """Return the choice probabilities of a canary's decision before its user was assigned to a router."""
    stable, candidate, share = note["stable"]["probabilities"], note["candidate"]["probabilities"], note["share"]
    return {name: (1 - share) * stable.get(name, 0.0) + share * candidate.get(name, 0.0) for name in {**stable, **candidate}}
