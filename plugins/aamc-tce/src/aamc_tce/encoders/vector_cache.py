"""A disk cache of embeddings, so that each encoder embeds a text once.

Each encoder has one SQLite file. It holds hashes and vectors but no text, and may be deleted at any time. A damaged file is deleted, a
damaged vector ignored, and a folder without access means no cache. None of these changes a result.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

logger = logging.getLogger(__name__)

Vector = NDArray[np.float16]
_KEYS_A_QUERY = 500


def cache_folder() -> Path:
    """Return the cache folder: ``AAMC_CACHE`` if set, else the user's cache folder."""
    given = os.environ.get("AAMC_CACHE")
    return Path(given) if given else user_cache_path("aamc") / "embeddings"


class VectorCache:
    """The cached vectors of one encoder; safe to share between threads and processes.

    Args:
        folder: The folder of the file, created with the first vector.
        encoder: The encoder's fingerprint.
        width: The length of a vector.
    """

    def __init__(self, folder: Path, encoder: str, width: int) -> None:
        self.path = folder / f"{encoder}.sqlite"
        self.width = width

    def get(self, texts: Sequence[str]) -> dict[str, Vector]:
        """Return the cached vectors by text."""
        found: dict[str, Vector] = {}
        self._guarded(lambda connection: self._read(connection, {_key(text): text for text in texts}, found), make=False)
        return found

    def put(self, vectors: Mapping[str, Vector]) -> None:
        """Cache vectors by text."""
        raws = {text: np.ascontiguousarray(vector, dtype=np.float16).tobytes() for text, vector in vectors.items()}
        rows = [(_key(text), raw, zlib.crc32(raw)) for text, raw in raws.items()]
        self._guarded(lambda connection: connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows), make=True)

    def _read(self, connection: sqlite3.Connection, texts: Mapping[bytes, str], found: dict[str, Vector]) -> None:
        wanted = list(texts)
        for start in range(0, len(wanted), _KEYS_A_QUERY):
            keys = wanted[start : start + _KEYS_A_QUERY]
            marks = ",".join("?" * len(keys))
            rows = connection.execute(f"SELECT key, vector, checksum FROM vectors WHERE key IN ({marks})", keys)  # noqa: S608  # only marks
            for key, raw, checksum in rows:
                if len(raw) == 2 * self.width and zlib.crc32(raw) == checksum:
                    found[texts[key]] = np.frombuffer(raw, np.float16)

    def _guarded(self, action: Callable[[sqlite3.Connection], object], *, make: bool) -> None:
        """Open the file, create it if ``make``, and run the action; log any error of the file instead of raising it."""
        try:
            if not make and not self.path.exists():
                return
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=10)) as connection, connection:
                connection.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB, checksum INTEGER) WITHOUT ROWID")
                action(connection)
        except (OSError, sqlite3.OperationalError) as error:  # locked, full, not writable
            logger.warning("embeddings are not cached: %s: %s", self.path, error)
        except sqlite3.DatabaseError as error:
            logger.warning("a damaged embedding cache is deleted: %s: %s", self.path, error)
            with suppress(OSError):  # in a folder that cannot be written
                self.path.unlink(missing_ok=True)


def _key(text: str) -> bytes:
    """Return the key of a text; version 0.1, which read only the start of a long text, had another one."""
    return hashlib.sha256(b"head and tail " + text.encode()).digest()
