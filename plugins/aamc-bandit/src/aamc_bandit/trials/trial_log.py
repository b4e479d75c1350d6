"""Statistics of the trials in a log. They are saved, so that the next report reads later entries only.

A report from saved statistics equals one that reads the whole log. They are saved as a snapshot in the log, so as long as reports are made,
retention drops no entry that a report has not counted. They name no user and no decision, only digests of these.
"""

from __future__ import annotations

import hashlib
import logging
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence

import attrs
import msgspec
import numpy as np

from aamc_bandit.trials.trial_notes import CALL, CANARY, CONTENT, FEEDBACK, SHADOW, NotedContent, TrialNote, serving_role
from aamc_bandit.trials.trial_statistics import JudgedDecision, Trial, compare, known_bound
from aamc_sdk.interfaces import Store
from aamc_sdk.log import ATTEMPT, DECISION, Batch, Row, decode_entry, is_within, read_batches, user_digest
from aamc_sdk.types import Snapshot, is_implicit, tenant_user

logger = logging.getLogger(__name__)
SNAPSHOT = "canary report 1, without hints and single candidates"
"""The name of the snapshot that keeps the statistics. It has their version and what they count, so that others are not continued."""
_FAILED, _ANSWERED, _JUDGED = 1, 2, 4  # bits: a call of the decision's candidate failed, one was answered, the decision was judged
_ENDS = {"error": _FAILED, "ok": _ANSWERED}
_DIGEST = 16


_Noted = tuple[TrialNote, Trial]
"""A decision's note, and its trial."""


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
    start: int
    trials: list[_SavedTrial]
    judged: bytes
    calls: dict[bytes, int]


@attrs.define(eq=False)
class TrialLog:
    """The trials of a log up to a position.

    Attributes:
        since: Time of the first decisions, in seconds since the epoch; None for all.
        until: Time before which decisions were made; None for all.
        position: The position up to which the log was read.
        last: The name of the entry at that position; None where it is not known.
        epoch: The log's epoch.
        start: The position up to which retention had dropped entries before they were read.
        entries: Number of entries that were read now.
    """

    since: float | None = None
    until: float | None = None
    position: int = 0
    last: str | None = None
    epoch: int = 0
    start: int = 0
    entries: int = 0
    _trials: dict[tuple[str, ...], Trial] = attrs.field(factory=dict)
    _seen: dict[bytes, int] = attrs.field(factory=dict)  # bits by the digest of a decision's id

    @property
    def trials(self) -> list[Trial]:
        """The trials, in the order of their first decisions."""
        return list(self._trials.values())

    def read(self, store: Store) -> bool:
        """Read the entries after the position; return whether they are of the same log, without a user forgotten meanwhile."""
        for batch in read_batches(store, self.position):
            if self.position and (batch.epoch != self.epoch or (batch.follows is not None and batch.follows != self.last)):
                return False
            self.epoch = batch.epoch
            self._read_batch(batch)
            if self.position < batch.start:
                self.start = batch.start
            self.position, self.entries = batch.position, self.entries + len(batch.rows)
            self.last = batch.last or (batch.rows[-1].name if batch.rows else self.last)
        return True

    def _read_batch(self, batch: Batch) -> None:
        decisions = self._decisions(batch.decisions)
        for row in batch.rows:
            found = decisions.get(row.decision_id)
            if found is None:
                continue
            if row.kind == DECISION:
                _count_served(row.id, *found)
            else:
                self._add_entry(row, *found)

    def _decisions(self, rows: Iterable[Row]) -> dict[str, tuple[NotedContent, Sequence[_Noted]]]:
        """Return the contents of the trials' decisions with their notes, by id."""
        found: dict[str, tuple[NotedContent, Sequence[_Noted]]] = {}
        for row in rows:
            text = row.content
            if ('"canary"' in text or '"shadow"' in text) and is_within(row.time, self.since, self.until):
                content = decode_entry(text, CONTENT, row.id)
                notes = ((CANARY, content.decision.notes.canary), (SHADOW, content.decision.notes.shadow))
                noted = [(note, self._trial(kind, note)) for kind, note in notes if note is not None]
                if noted:
                    found[row.id] = content, noted
        return found

    def _add_entry(self, row: Row, content: NotedContent, noted: Sequence[_Noted]) -> None:
        decision, key = content.decision, _digest(row.decision_id)
        ends = self._seen.get(key, 0)
        if ends & _JUDGED:
            return
        if row.kind == ATTEMPT:
            if row.candidate == decision.candidate:
                call = decode_entry(row.content, CALL, row.id)
                self._seen[key] = ends | _ENDS.get(call.status or ("ok" if call.error is None else "error"), 0)
            return
        feedback = decode_entry(row.content, FEEDBACK, row.id)
        is_hint = is_implicit(feedback.source) and feedback.confidence < 1
        if feedback.quality is None or is_hint or not feedback.weight * feedback.confidence > 0:
            return
        self._seen[key] = _JUDGED
        has_failed = ends == _FAILED and row.candidate != decision.candidate
        judged, quality = (decision.candidate, 0.0) if has_failed else (row.candidate, feedback.quality)
        for note, trial in noted:
            _judge(note, trial, content, judged, quality)

    def _trial(self, kind: str, note: TrialNote) -> Trial:
        stable, candidate = note.stable, note.candidate
        key = (kind, stable.router, candidate.router, stable.version, candidate.version)
        found = self._trials.get(key)
        if found is None:
            found = self._trials[key] = Trial(*key[:3], stable_version=key[3], candidate_version=key[4])
        return found

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
                sorted(trial.users),
            )
            for trial in self.trials
        ]
        judged = b"".join(sorted(key for key, ends in self._seen.items() if ends & _JUDGED))
        calls = {key: ends for key, ends in self._seen.items() if not ends & _JUDGED}
        content = msgspec.msgpack.encode(_Saved(self.start, trials, judged, calls))
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
        judged = (saved.judged[start : start + _DIGEST] for start in range(0, len(saved.judged), _DIGEST))
        self._seen = dict.fromkeys(judged, _JUDGED) | saved.calls
        for each in saved.trials:
            trial = Trial(each.kind, *each.labels, stable_version=each.versions[0], candidate_version=each.versions[1])
            trial.judgements = [JudgedDecision(*values) for values in np.frombuffer(each.judgements, "<f8").reshape(-1, 4).tolist()]
            trial.served, trial.left_out = Counter(each.served), Counter(each.left_out)
            trial.bound, trial.ended, trial.users = each.bound, each.ended, set(each.users)
            self._trials[(each.kind, *each.labels, *each.versions)] = trial


def read_trials(store: Store, since: float | None = None, until: float | None = None) -> TrialLog:
    """Return the trials of a whole log.

    Args:
        store: The log.
        since: Time of the first decisions, in seconds since the epoch; None for all.
        until: Time before which decisions were made; None for all.
    """
    while not (found := TrialLog(since, until)).read(store):
        pass  # a user was forgotten meanwhile
    return found


def continue_trials(store: Store) -> TrialLog:
    """Return the trials of a log, from the statistics that an earlier call kept in it and the entries after these, and keep the new ones.

    The result is that of :func:`read_trials`. If the statistics are of another log or cannot be read, the whole log is read.
    """
    found = TrialLog()
    kept = store.snapshot(SNAPSHOT)
    if kept is None or not _continued(found, store, kept):
        found = read_trials(store)
    store.put_snapshot(SNAPSHOT, found.saved())
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
        store.put_snapshot(SNAPSHOT, found.saved())
    return found.read(store)


def _digest(name: str) -> bytes:
    return hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=_DIGEST).digest()


def _count_served(decision_id: str, content: NotedContent, noted: Sequence[_Noted]) -> None:
    decision = content.decision
    role = "stable" if decision.notes.canary is None else serving_role(decision.notes.canary, decision_id, decision.candidate)
    for note, trial in noted:
        if note.ended is not None:
            trial.ended = note.ended
        elif content.has_choice:
            trial.served[role] += 1


def _judge(note: TrialNote, trial: Trial, content: NotedContent, judged: str, quality: float) -> None:
    """Add the first feedback on a decision to a trial."""
    if note.ended is not None:
        trial.ended = note.ended
        return
    if not content.has_choice:
        trial.left_out["one_candidate"] += 1
        return
    if note.role is not None:  # users were assigned to the routers
        digest = None if content.query.user is None else user_digest(tenant_user(content.query.user, content.query.tenant))
        if digest is None or digest in trial.users:
            trial.left_out["user_forgotten" if digest is None else "user_counted"] += 1
            return
        trial.users.add(digest)
    compared = compare(trial.kind, note, content.decision, judged, quality)
    if isinstance(compared, str):
        trial.left_out[compared] += 1
    else:
        trial.add(compared, known_bound(trial.kind, note))
