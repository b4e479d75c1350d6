"""The spool: a small SQLite file on this machine in which writes wait while the server is away.

It holds lines as ``aamc feedback export`` writes them. An entry leaves it when the server has acknowledged it, so an entry
in it may be on the server already; there it counts once, by its id. New entries are checked by the log's own rules against
the entries that wait here: a repetition is not kept twice, and other content under one id is refused at once.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from aamc_sdk.concurrency import ForkCheckedLock
from aamc_sdk.errors import DataError, StoreAwayError, StoreError
from aamc_sdk.log import (
    ATTEMPT,
    DECISION,
    FEEDBACK,
    Addition,
    Erasure,
    Excerpt,
    Row,
    addition_of,
    advice_on,
    append,
    connect,
    empty_write_ahead,
    file_identity,
    line_of,
    transaction,
    used_bytes,
    write_ahead,
)

_TABLE = """
    CREATE TABLE IF NOT EXISTS spool (
        n INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice: another process may still be about to remove the first of that number
        kind TEXT NOT NULL, id TEXT NOT NULL, decision_id TEXT NOT NULL, line TEXT NOT NULL,
        refused TEXT);  -- why the server did not take it; NULL while it waits
    CREATE INDEX IF NOT EXISTS spool_by_decision ON spool (decision_id);
    CREATE INDEX IF NOT EXISTS spool_by_id ON spool (id);
    CREATE INDEX IF NOT EXISTS spool_waiting ON spool (n) WHERE refused IS NULL
"""
_WAITS = "SELECT 1 FROM spool WHERE refused IS NULL LIMIT 1"
_ABOUT = """SELECT n, line FROM spool WHERE refused IS NULL AND decision_id IN (SELECT value FROM json_each(:decisions)
    UNION SELECT decision_id FROM spool WHERE kind = 'feedback' AND id IN (SELECT value FROM json_each(:feedback))) ORDER BY n"""
_REFUSED = "SELECT n, line FROM spool WHERE kind = 'decision' AND refused IS NOT NULL"


def default_spools(url: str, name: str, prefix: str) -> tuple[Path, Path]:
    """Return the file for a server's log, in the user's folder for programs' state, and the one that earlier versions named by the whole URL.

    ``name`` is the URL without user and password, which may change while entries wait.
    """
    folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "aamc"
    present, earlier = (folder / f"spool-{hashlib.sha256(f'{each} {prefix}'.encode()).hexdigest()[:16]}.db" for each in (name, url))
    return present, earlier


class SpoolError(StoreAwayError):
    """Raised when the spool cannot keep a write: its file cannot be used, or is full."""


class Spool:
    """Entries that wait for the server, in order of arrival. Safe to use from any thread and process.

    Args:
        path: Its file.
        prefix: The prefix of the log that the entries are for; the file keeps that of its first log.
        max_bytes: Size beyond which it takes no more entries.

    Raises:
        SpoolError: Its file cannot be used; raised by every method.
    """

    def __init__(self, path: Path, prefix: str, max_bytes: float = math.inf) -> None:
        self.path = path = path.resolve()  # the program may change its working directory
        self._max_bytes, self._prefix = max_bytes, prefix
        self._lock = ForkCheckedLock("the decision log")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = _connect(path, prefix)
            self._file = file_identity(path)
        except (sqlite3.Error, OSError) as error:
            raise self._refusal(error) from error

    def adopt(self, earlier: Path) -> None:
        """Take over the entries of the file that an earlier version used, if there is one and it is not this spool's own.

        The file stays, since a program of that version may have it open. A process that is killed meanwhile leaves copies, which count once.
        """
        if earlier.resolve() == self.path or not earlier.exists():
            return
        try:
            with closing(_connect(earlier, self._prefix)) as source, transaction(source):
                lines = source.execute("SELECT kind, id, decision_id, line, refused FROM spool ORDER BY n").fetchall()
                with self._writing() as connection:
                    connection.executemany("INSERT INTO spool (kind, id, decision_id, line, refused) VALUES (?, ?, ?, ?, ?)", lines)
                source.execute("DELETE FROM spool")
        except (sqlite3.Error, OSError) as error:
            raise self._refusal(error, earlier) from error

    def put(self, entries: Sequence[Addition]) -> list[bool]:
        """Keep entries durably in order, up to the first that is refused; return which of them are new here.

        Raises:
            StoreError: One was refused: it contradicts a waiting entry.
            SpoolError: The spool is full.
        """
        return self._put(entries, whole=False)[0]

    def put_decisions(self, rows: Sequence[Row]) -> list[Row | None]:
        """Keep decisions durably, all or none; return for each the waiting one of its id, None where it is new here."""
        new, excerpt = self._put([(row,) for row in rows], whole=True)
        return [None if is_new else excerpt.find(DECISION, row.id)[-1] for row, is_new in zip(rows, new, strict=True)]

    def put_attempts(self, rows: Sequence[Row]) -> list[int]:
        """Keep attempts durably, all or none; return their numbers. The server may number those without one of their own otherwise."""
        _, excerpt = self._put([(row,) for row in rows], whole=True)
        return [excerpt.find(ATTEMPT, row.id)[0].fields["n"] for row in rows]

    def _put(self, entries: Sequence[Addition], *, whole: bool) -> tuple[list[bool], Excerpt]:
        """Keep entries; also return the waiting entries on their decisions as they are then, since others may be delivered right afterwards."""
        new: list[bool] = []
        refusal: StoreError | None = None
        with self._writing() as connection:
            self._check_there()
            excerpt = _excerpt(connection, entries)
            for entry in entries:
                try:
                    is_new, is_more = _add(excerpt, entry)
                except StoreError as error:
                    if whole:
                        raise
                    refusal = error  # the entries before it stay
                    break
                new.append(is_new)
                if is_more:
                    self._check_room(connection)
                    values = (entry[-1].kind, entry[-1].id, entry[-1].decision_id, line_of(*entry))
                    connection.execute("INSERT INTO spool (kind, id, decision_id, line) VALUES (?, ?, ?, ?)", values)
        if refusal is not None:
            raise refusal
        return new, excerpt

    @property
    def size(self) -> int:
        """The bytes of its file that are in use."""
        with self._using() as connection:
            return used_bytes(connection)

    def _check_there(self) -> None:
        """Check that the open file is the one at the path: no later process finds the entries of a deleted one."""
        if file_identity(self.path) != self._file:
            why = "was deleted or replaced while it was open, so nothing more can wait for the server"
            advice = "keep the program running until the server is back, as it still delivers what waited there before, and then restart it"
            raise SpoolError(f"the spool {self.path} {why}: {advice}")

    def _check_room(self, connection: sqlite3.Connection) -> None:
        if used_bytes(connection) >= self._max_bytes:
            advice = "raise max_spool_mb, or see that the server comes back"
            raise SpoolError(f"the spool {self.path} is full ({self._max_bytes / 1e6:g} MB), so nothing more can wait for the server: {advice}")

    def counts(self) -> tuple[int, int]:
        """Return the numbers of waiting entries and of refused ones."""
        with self._using() as connection:
            refused, waiting = connection.execute("SELECT count(refused), count(*) - count(refused) FROM spool").fetchone()
        return waiting, refused

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits; entries that any process has put are seen at once."""
        with self._using() as connection:
            return connection.execute(_WAITS).fetchone() is None

    def first(self, limit: int) -> list[tuple[int, Addition]]:
        """Return the entries that have waited longest, with their numbers; a line that cannot be read is set aside."""
        with self._using() as connection:
            found = connection.execute("SELECT n, line FROM spool WHERE refused IS NULL ORDER BY n LIMIT ?", (limit,)).fetchall()
        entries = self._read(found)
        return entries if entries or not found else self.first(limit)

    def about(self, decisions: Sequence[str], feedback: Sequence[str]) -> list[tuple[int, Addition]]:
        """Return the waiting entries on some decisions, and on those of some feedback, with their numbers; an unreadable line is set aside."""
        with self._using() as connection:
            found = _lines_about(connection, decisions, feedback)
        return self._read(found)

    def _read(self, lines: Sequence[tuple[int, str]]) -> list[tuple[int, Addition]]:
        entries: list[tuple[int, Addition]] = []
        for n, line in lines:
            try:
                entries.append((n, addition_of(line)))
            except DataError as error:
                self.set_aside(n, str(error))
        return entries

    def decision(self, decision_id: str) -> Row | None:
        """Return a decision that waits."""
        with self._using() as connection:
            found = connection.execute("SELECT line FROM spool WHERE kind = ? AND id = ? LIMIT 1", (DECISION, decision_id)).fetchone()
        with suppress(DataError):  # damaged: unknown, as it is to the server
            return addition_of(found[0])[0] if found else None
        return None

    def remove(self, numbers: Sequence[int]) -> None:
        """Remove entries that the server has acknowledged."""
        with self._writing() as connection:
            connection.executemany("DELETE FROM spool WHERE n = ?", [(n,) for n in numbers])
        if self.is_empty:
            self._empty_write_ahead()

    def set_aside(self, number: int, why: str) -> None:
        """Keep an entry that the server refused, without offering it again."""
        with self._writing() as connection:
            connection.execute("UPDATE spool SET refused = ? WHERE n = ?", (why, number))

    def forget(self, erasure: Erasure) -> None:
        """Erase a user or a tenant from the decisions that the server refused."""
        with self._writing() as connection:
            for n, line in connection.execute(_REFUSED).fetchall():
                with suppress(DataError):  # damaged, so it is not known whose it is
                    (row,) = addition_of(line)
                    if erasure.covers(row):
                        connection.execute("UPDATE spool SET line = ? WHERE n = ?", (line_of(erasure.applied(row)), n))
        self._empty_write_ahead()

    def close(self) -> None:
        """Close the file."""
        with self._lock.held, closing(self._connection):
            pass

    def _empty_write_ahead(self) -> None:
        with self._using() as connection:
            empty_write_ahead(connection)

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        with self._lock.held:
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise self._refusal(error) from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Begin a transaction in which no other process writes, and commit it when the block ends well."""
        with self._using() as connection, transaction(connection):
            yield connection

    def _refusal(self, error: BaseException, path: Path | None = None) -> SpoolError:
        advice = advice_on(error) or "name another file by the option spool"
        return SpoolError(f"the spool {path or self.path} cannot be used ({error}); {advice}")


def _connect(path: Path, prefix: str) -> sqlite3.Connection:
    connection = connect(path.resolve().as_uri())
    try:
        write_ahead(connection)
        connection.executescript(_TABLE)
        _check_owner(connection, path, prefix)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_owner(connection: sqlite3.Connection, path: Path, prefix: str) -> None:
    """Check that the spool's entries are for the log of a prefix; a new spool is made that log's."""
    with transaction(connection):
        connection.execute("CREATE TABLE IF NOT EXISTS owner (prefix TEXT NOT NULL)")
        connection.execute("INSERT INTO owner SELECT ? WHERE NOT EXISTS (SELECT * FROM owner)", (prefix,))
        (owner,) = connection.execute("SELECT prefix FROM owner").fetchone()
    if owner != prefix:
        raise SpoolError(f"the spool {path} is that of the log with the prefix {owner!r}, not {prefix!r}: name another file by the option spool")


def _lines_about(connection: sqlite3.Connection, decisions: Sequence[str], feedback: Sequence[str]) -> list[tuple[int, str]]:
    return connection.execute(_ABOUT, {"decisions": json.dumps(decisions), "feedback": json.dumps(feedback)}).fetchall()


def _excerpt(connection: sqlite3.Connection, entries: Sequence[Addition]) -> Excerpt:
    """Return the waiting entries on the same decisions and feedback as some entries, as the log's rules see them."""
    rows, excerpt = [entry[-1] for entry in entries], Excerpt([], [])
    for _, line in _lines_about(connection, [row.decision_id for row in rows], [row.id for row in rows if row.kind == FEEDBACK]):
        with suppress(DataError, StoreError):  # damaged, or older than these rules; reported when its turn comes
            _add(excerpt, addition_of(line))
    return excerpt


def _add(excerpt: Excerpt, entry: Addition) -> tuple[bool, bool]:
    """Append an entry; return whether it is new, and whether anything was added: known feedback may bring a new call."""
    before = len(excerpt.added) + len(excerpt.added_pending)
    is_new = append(excerpt, entry)[-1]
    return is_new, len(excerpt.added) + len(excerpt.added_pending) > before
