"""The maximum length of ids and names in a log: the same for every store, so that a log can move to any other."""

from __future__ import annotations

from aamc_sdk.errors import NameLengthError
from aamc_sdk.log.rows.row import ATTEMPT, DECISION, FEEDBACK, Row, columns_of

MAX_NAME_BYTES = 512
"""Length of an id or name in UTF-8. A row of an index in PostgreSQL has 2,700 bytes, and may hold a decision's id three times and a source."""
_FEEDBACK_BYTES = 2 * MAX_NAME_BYTES + 1
_MAX_ID_BYTES = {DECISION: MAX_NAME_BYTES, FEEDBACK: _FEEDBACK_BYTES, ATTEMPT: MAX_NAME_BYTES + len("/feedback/") + _FEEDBACK_BYTES}
"""Length of an entry's id: that of feedback is by default the decision's id, a slash and the source, and that of an attempt begins with it too."""
_NOUNS = {DECISION: "a decision", FEEDBACK: "a piece of feedback", ATTEMPT: "an attempt"}
FITTING_CHARACTERS = MAX_NAME_BYTES // 4
"""Length in characters up to which every name is short enough."""


def fits(name: str | None, limit: int = MAX_NAME_BYTES) -> bool:
    """Return whether an id or name is short enough for a log."""
    return not name or len(name) <= FITTING_CHARACTERS or len(name.encode(errors="surrogatepass")) <= limit


def check_lengths(row: Row) -> None:
    """Check the ids and names of a new entry.

    Raises:
        NameLengthError: One is too long.
    """
    _check(row.id, f"the id of {_NOUNS[row.kind]}", _MAX_ID_BYTES[row.kind])
    _check(row.decision_id, "the id of a decision")
    if row.kind == DECISION:
        columns = columns_of(row)
        for what, name in (("user", "user_id"), ("tenant", "tenant"), ("episode", "episode")):
            _check(columns[name], f"the name of a {what}")
        _check(row.candidate, "the name of a candidate")


def _check(name: str | None, what: str, limit: int = MAX_NAME_BYTES) -> None:
    if name and not fits(name, limit):
        size = len(name.encode(errors="surrogatepass"))
        raise NameLengthError(f"{what} must have at most {limit:,} bytes, and {name[:32]!r}... has {size:,}: shorten it, or give a hash of it")
