"""The log's rules, the same for every store that reads and writes excerpts of it.

- An entry counts once: its id with the same content adds nothing, and with other content is refused.
- An entry whose decision is not in the log is pending. It gets its position right after that decision. If it does not fit the decision, it stays
  pending until its id comes with other content.
- The content of a decision is its request: adding it again returns the logged decision.
- Feedback has revisions: a later one replaces the earlier. All revisions of an id are on one decision.
- Ids and names have a maximum length.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import compress
from typing import Any

from aamc_sdk.errors import ConflictError, NameLengthError, StoreError, UnknownCandidateError
from aamc_sdk.log.erasure import erased
from aamc_sdk.log.rows.json_text import damage_errors
from aamc_sdk.log.rows.row import ATTEMPT, DECISION, FEEDBACK, Row, candidates_of, columns_of, same_attempt
from aamc_sdk.log.writes.excerpt import Excerpt
from aamc_sdk.messages import one_of, unknown_name

logger = logging.getLogger(__name__)
MAX_NAME_BYTES = 512
"""Maximum number of bytes of an id or name in UTF-8.

A row of an index in PostgreSQL has 2,700 bytes, and may hold a decision's id three times and a source.
"""
_FEEDBACK_BYTES = 2 * MAX_NAME_BYTES + 1
_MAX_ID_BYTES = {DECISION: MAX_NAME_BYTES, FEEDBACK: _FEEDBACK_BYTES, ATTEMPT: MAX_NAME_BYTES + len("/feedback/") + _FEEDBACK_BYTES}
"""Length of an entry's id: that of feedback is by default the decision's id, a slash and the source, and that of an attempt begins with it too."""
_NOUNS = {DECISION: "a decision", FEEDBACK: "a piece of feedback", ATTEMPT: "an attempt"}
FITTING_CHARACTERS = MAX_NAME_BYTES // 4
"""Names of at most this many characters always fit: UTF-8 needs at most 4 bytes for each."""


def warn_of_pending(rows: Iterable[Row]) -> None:
    """Log a warning that names the decisions whose entries are pending, since a mistyped id looks like a decision that is still to come."""
    if names := {row.decision_id for row in rows}:
        logger.warning("entries are pending until their decisions are logged: the log has no decision %s", one_of(map(repr, names)))


def append(excerpt: Excerpt, rows: Sequence[Row]) -> list[bool]:
    """Append entries, all or none; return which of them are new.

    Everything is checked before anything is written, so a refusal leaves the excerpt as it was.

    Raises:
        StoreError: An id is known with other content or is too long, or an entry does not fit its decision.
    """
    if len(rows) > 1 and len({row.key for row in rows}) < len(rows):
        (kind, twice, _), _ = Counter(row.key for row in rows).most_common(1)[0]
        raise ConflictError(f"two entries of one batch have the same id, {kind} {twice!r}; give each a unique id")
    rows = _with_numbers(excerpt, rows)
    new = [_is_new(excerpt, row) for row in rows]
    fresh = list(compress(rows, new))
    for row in fresh:
        check_lengths(row)
        _check(row, excerpt.history(row.decision_id))
    for row in fresh:
        _append(excerpt, row)
    return new


def append_decisions(excerpt: Excerpt, rows: Sequence[Row]) -> list[Row | None]:
    """Append decisions as :func:`append` does; return for each the logged one of its id, None if it is new."""
    return [None if is_new else excerpt.find(DECISION, row.id)[-1] for row, is_new in zip(rows, append(excerpt, rows), strict=True)]


def drop_pending(excerpt: Excerpt, rows: Sequence[Row]) -> int:
    """Delete those of some entries that are still pending; return their number."""
    pending = {row.key: row for decision_id in dict.fromkeys(row.decision_id for row in rows) for row in excerpt.pending(decision_id)}
    dropped = [pending[row.key] for row in rows if row.key in pending]
    for row in dropped:
        excerpt.drop(row)
    return len(dropped)


def append_attempts(excerpt: Excerpt, rows: Sequence[Row]) -> list[int]:
    """Append attempts as :func:`append` does; return their numbers."""
    new = [row for row in rows if not _is_known_attempt(excerpt, row)]
    append(excerpt, new)
    numbers = map(_number, rows)
    return [_number(excerpt.find(ATTEMPT, row.id)[0]) if n is None else n for row, n in zip(rows, numbers, strict=True)]


def _with_numbers(excerpt: Excerpt, rows: Sequence[Row]) -> Sequence[Row]:
    """Return rows whose attempts have numbers: the one that the log holds already, or the decision's next one."""
    attempts = [(row, _number(row)) for row in rows if row.kind == ATTEMPT]
    if all(n is not None for _, n in attempts):
        return rows
    free = {row.decision_id: 1 + max(map(_number, _attempts(excerpt, row.decision_id)), default=-1) for row, _ in attempts}
    for row, n in attempts:
        if n is not None:
            free[row.decision_id] = max(free[row.decision_id], 1 + n)
    result = []
    for row in rows:
        if row.kind == ATTEMPT and _number(row) is None:
            known = excerpt.find(ATTEMPT, row.id)
            row = row.with_fields(row.fields | {"n": _number(known[0]) if known else free[row.decision_id]})
            free[row.decision_id] += not known
        result.append(row)
    return result


def _attempts(excerpt: Excerpt, decision_id: str) -> list[Row]:
    """Return a decision's attempts, placed or pending."""
    return [row for row in (*excerpt.history(decision_id), *excerpt.pending(decision_id)) if row.kind == ATTEMPT]


def _number(row: Row) -> Any:
    """Return an attempt's number; None before the log has given it one."""
    with damage_errors(row.name):
        return row.fields["n"]


def _is_known_attempt(excerpt: Excerpt, row: Row) -> bool:
    """Return whether the log has the same attempt under its number but another id: recorded before by itself, or with feedback."""
    n = _number(row)
    alike = [] if n is None else [known for known in _attempts(excerpt, row.decision_id) if _number(known) == n and known.id != row.id]
    if not alike or excerpt.find(ATTEMPT, row.id):
        return False
    if any(same_attempt(known, row) for known in alike):
        return True
    raise ConflictError(f"decision {row.decision_id!r} has another attempt {n} in the log, with other content; leave n out to take the next number")


def _is_new(excerpt: Excerpt, row: Row) -> bool:
    """Return whether the log lacks an entry; a StoreError if its id is known with other content that does not replace the known one."""
    known = excerpt.find(row.kind, row.id)
    if not known:
        return True
    same = next((past for past in known if past.revision == row.revision), None)
    if same is not None and _is_same(same, row):
        return False
    if row.decision_id != known[0].decision_id:  # else one caller could replace the feedback of another
        raise ConflictError(f"{row.kind} {row.id!r} is in the log with other content, on another decision; give it another source or id")
    if row.revision > known[-1].revision:
        return True
    if same is known[-1] and excerpt.history(row.decision_id) and any(past.key == row.key for past in excerpt.pending(row.decision_id)):
        return True  # it did not fit its decision, so the new content takes its place
    if row.kind == DECISION and not known[0].fingerprint:
        why = "its user was forgotten, or an earlier version logged it"
        raise ConflictError(f"decision {row.id!r} is in the log without its request's fingerprint ({why}): give the new request another id")
    if row.kind == ATTEMPT and "feedback" in row.fields:
        name = row.fields["feedback"]
        raise ConflictError(
            f"the figures of feedback {name!r} are in the log with other content; leave them out, or record another call with attempt"
        )
    advice = {
        DECISION: "give the new request another id",
        ATTEMPT: "leave n out to take the next number",
        FEEDBACK: f"give a revision above {known[-1].revision} to replace it, or another source or id to count both",
    }
    latest = known[-1].revision if row.kind == FEEDBACK else None
    raise ConflictError(f"{row.kind} {row.id!r} is in the log with other content; {advice[row.kind]}", latest)


def _is_same(known: Row, row: Row) -> bool:
    """Return whether two rows are one entry: decisions by their requests, whose texts may be left out of the content.

    An imported decision equals an erased one if all fields that erasure keeps are equal.
    """
    if row.kind == DECISION and known.fingerprint and row.fingerprint:
        return known.fingerprint == row.fingerprint
    if known.content == row.content or known.fields == row.fields:  # earlier versions wrote the same JSON with other spaces
        return True
    if row.kind != DECISION or known.time != row.time:
        return False
    return known.fields in (erased(row).fields, erased(row, without_tenant=True).fields)


def _check(row: Row, history: Sequence[Row]) -> None:
    if row.kind == DECISION or not history:
        return
    loser = columns_of(row)["beaten"] if row.kind == FEEDBACK else None
    for name in filter(None, (row.candidate, loser)):
        if name != history[0].candidate and name not in (known := candidates_of(history[0])):
            raise UnknownCandidateError(unknown_name(f"decision {row.decision_id!r} had no candidate", name, known, "it had"))
    if loser and loser == _candidate_of(row, history):
        raise UnknownCandidateError(f"a candidate cannot beat itself: {loser!r} is winner and loser of feedback {row.id!r}")


def _append(excerpt: Excerpt, row: Row) -> None:
    history = excerpt.history(row.decision_id)
    if row.kind == DECISION:
        excerpt.add(row)
        for pending in excerpt.pending(row.id):
            _release(excerpt, pending)
    elif history:
        excerpt.add(row.with_candidate(_candidate_of(row, history)))
    else:
        excerpt.add_pending(row)


def _release(excerpt: Excerpt, row: Row) -> None:
    """Place a pending entry whose decision has come."""
    history = excerpt.history(row.decision_id)
    try:
        _check(row, history)
    except StoreError as error:  # the decision itself is right, so it must not fail
        logger.warning("%s stays pending until its id is sent again with other content: %s", row.name, error)
    else:
        excerpt.add(row.with_candidate(_candidate_of(row, history)))


def _candidate_of(row: Row, history: Sequence[Row]) -> str:
    """Return the candidate that an entry is about: by default the chosen one; for feedback and its attempt the one that served."""
    if row.candidate:
        return row.candidate
    if len(history) > 1 and (row.kind == FEEDBACK or "feedback" in row.fields):
        for past in reversed(history):
            if past.kind == ATTEMPT and columns_of(past)["status"] == "ok":
                return past.candidate
    return history[0].candidate


def fits(name: str | None, limit: int = MAX_NAME_BYTES) -> bool:
    """Return whether an id or name is short enough for a log."""
    return not name or len(name) <= FITTING_CHARACTERS or len(name.encode(errors="surrogatepass")) <= limit


def check_lengths(row: Row) -> None:
    """Check the lengths of the ids and names of a new entry."""
    if row.kind != DECISION and len(row.id) + len(row.decision_id) <= FITTING_CHARACTERS:  # most are
        return
    _check_length(row.id, f"the id of {_NOUNS[row.kind]}", _MAX_ID_BYTES[row.kind])
    _check_length(row.decision_id, "the id of a decision")
    if row.kind == DECISION:
        columns = columns_of(row)
        for what, name in (("user", "user_id"), ("tenant", "tenant"), ("episode", "episode")):
            _check_length(columns[name], f"the name of a {what}")
        _check_length(row.candidate, "the name of a candidate")


def _check_length(name: str | None, what: str, limit: int = MAX_NAME_BYTES) -> None:
    if name and not fits(name, limit):
        size = len(name.encode(errors="surrogatepass"))
        raise NameLengthError(f"{what} must have at most {limit:,} bytes, and {name[:32]!r}... has {size:,}: shorten it, or give a hash of it")
