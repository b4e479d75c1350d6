"""Where writes wait while the server is away: a small SQLite file on this machine.

It holds lines as ``aamc feedback export`` writes them. An entry leaves it when the server has
acknowledged it, so what is in it may be on the server already; there it counts once, by its id.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from aamc_sdk.errors import StoreError
from aamc_sdk.stores.exchange import Entry, entry_of, line_of
from aamc_sdk.stores.records import DECISION, FEEDBACK, Row

_TABLE = """CREATE TABLE IF NOT EXISTS spool (
    n INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL, line TEXT NOT NULL,
    refused TEXT,  -- why the server did not take it; NULL while it waits
    UNIQUE (kind, id))"""
_BUSY_SECONDS = 30.0


def default_spool(url: str, prefix: str) -> Path:
    """Return the file for a server's log, in the user's folder for programs' state."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return state / "aamc" / f"spool-{hashlib.sha256(f'{url} {prefix}'.encode()).hexdigest()[:16]}.db"


class Spool:
    """Entries that wait for the server, in the order in which they came. Safe to use from any thread and process.

    Raises:
        StoreError: Its file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute(_TABLE)
        except (sqlite3.Error, OSError) as error:
            raise self._refusal(error) from error

    def put(self, entries: Sequence[Entry]) -> None:
        """Keep entries durably, all or none; what is there twice counts once on the server.

        Raises:
            StoreError: The file cannot be written.
        """
        rows = [(*_name(entry), line_of(entry)) for entry in entries]
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.executemany("INSERT INTO spool (kind, id, line) VALUES (?, ?, ?)", rows)
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise self._refusal(error) from error

    def first(self, limit: int) -> list[tuple[int, Entry]]:
        """Return the entries that have waited longest, with their numbers."""
        found = self._all("SELECT n, line FROM spool WHERE refused IS NULL ORDER BY n LIMIT ?", limit)
        return [(n, entry_of(line)) for n, line in found]

    def decision(self, decision_id: str) -> Row | None:
        """Return a decision that waits."""
        found = self._all("SELECT line FROM spool WHERE kind = ? AND id = ? LIMIT 1", DECISION, decision_id)
        entry = entry_of(found[0][0]) if found else None
        return entry if isinstance(entry, Row) else None

    def refused(self) -> list[tuple[str, str]]:
        """Return the lines that the server refused, and why."""
        return self._all("SELECT line, refused FROM spool WHERE refused IS NOT NULL ORDER BY n")

    def remove(self, numbers: Sequence[int]) -> None:
        """Let go of entries that the server has."""
        with self._lock:
            self._connection.executemany("DELETE FROM spool WHERE n = ?", [(n,) for n in numbers])

    def set_aside(self, number: int, why: str) -> None:
        """Keep an entry that the server refused, without offering it again."""
        with self._lock:
            self._connection.execute("UPDATE spool SET refused = ? WHERE n = ?", (why, number))

    def close(self) -> None:
        """Let go of the file."""
        with self._lock, closing(self._connection):
            pass

    def _all(self, query: str, *values: object) -> list[Any]:
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def _refusal(self, error: BaseException) -> StoreError:
        return StoreError(f"the spool {self.path} cannot be used ({error}); name another file by the option spool")


def _name(entry: Entry) -> tuple[str, str]:
    return (entry.kind, entry.id) if isinstance(entry, Row) else (FEEDBACK, entry[0].id)
