"""The JSON state file that ``storage_path`` names: a copy of the evidence for other programs. The log stays the source.

Nothing counts twice. The file stores the starting evidence (that before the first entry of the log) and identifies the log by its first decision
when it was new, or by its newest one, since retention drops the oldest. With the same log, the router restores the starting evidence and replays
the log. With another log, or a file of vLLM Semantic Router, it starts from all evidence in the file. A file that was used with another log and then
meets an earlier one again is kept aside, since its evidence already contains that log.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec

from aamc_bandit.semantic_router.ratings import USER, is_ratings, read_ratings
from aamc_bandit.thompson.autosave import AutoSave, auto_save_seconds
from aamc_bandit.thompson.beta_evidence import BetaEvidence
from aamc_sdk.errors import CheckpointError, StoreAwayError, UnknownDecisionError
from aamc_sdk.interfaces import Store
from aamc_sdk.storage import write_bytes

logger = logging.getLogger(__name__)
KIND, SCHEMA = "aamc-bandit", 1
LAST_ENTRIES = 100
"""Entries of the log among which its newest decision is looked for."""


class StateFile:
    """Reads the state when serving starts, and saves it at regular intervals and at the end.

    A file that cannot be used is renamed and reported; learning then starts without it.

    Args:
        path: The state file.
        evidence: The evidence to restore and save; other threads may add to it and read it meanwhile.
        log: The log that the router learns from.
        interval: The time between two saves, in Go's notation.
        to_log_user: Maps a user id of vLLM Semantic Router's file to the id used in requests and the log.

    Attributes:
        origin: A digest of the starting evidence, with the users who have been forgotten since.
    """

    def __init__(self, path: Path, evidence: BetaEvidence, log: Store, interval: str, to_log_user: Callable[[str], str]) -> None:
        self._path = path
        self._evidence = evidence
        self._log = log
        self._to_log_user = to_log_user
        self._log_id: str | None = None
        self._newest: str | None = None
        self.origin = ""
        self._earlier: list[str] = []
        self._start: bytes | None = None
        seconds = auto_save_seconds(interval)
        writable = self._restore()
        self.origin = self.origin or hashlib.sha256(self._evidence.encoded()).hexdigest()
        self._saved = self._version
        self._saving = AutoSave(self.save, seconds) if writable else None

    def record_start(self) -> None:
        """Record the starting evidence, without forgotten users; called before each replay of the log from its first entry."""
        start = self._evidence
        if self._start is not None:  # a later replay: by now the evidence holds the log
            start = BetaEvidence(max_users=sys.maxsize, max_sessions=sys.maxsize)
            start.restore(self._start)
        start.drop_users(self._log.forgotten)
        self._start = start.encoded()
        if self._log_id is None or not self._log.experience(0, 1).start:  # else retention has dropped the first decision
            self._log_id = first_decision(self._log)

    def save(self) -> None:
        """Write the state if it has changed, the starting evidence is recorded and the log is identified.

        A log whose server is away is not identified yet.

        Raises:
            OutputError: The file cannot be written; it is unchanged.
        """
        version = self._version
        self._log_id = self._log_id or first_decision(self._log)
        if version == self._saved or self._start is None or self._log_id is None:
            return
        self._newest = newest_decision(self._log) or self._newest
        log = {"log": self._log_id, "newest": self._newest, "earlier": self._earlier, "origin": self.origin}
        evidence = {"began_with": msgspec.Raw(self._start), "learned": msgspec.Raw(self._evidence.encoded())}
        write_bytes(self._path, msgspec.json.encode({"kind": KIND, "schema": SCHEMA, "saved": time.time(), **log, **evidence}))
        self._saved = version

    def close(self) -> None:
        """Save once more and stop. Closing twice has no effect."""
        if self._saving is not None:
            self._saving.close()

    @property
    def _version(self) -> tuple[int, int]:
        """A value that changes whenever there is something new to save."""
        return self._evidence.changes, self._evidence.selections

    def _restore(self) -> bool:
        """Restore the evidence from the file; return whether the file may be written."""
        if not self._path.exists():
            return True
        if not self._path.is_file():  # a device may have no end, and a pipe no beginning
            logger.error("%s is not a regular file, so it is neither restored nor written", self._path)
            return False
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            if is_ratings(content):
                updated = _epoch_seconds(content.get("last_updated"))
                for level, entity, ratings in read_ratings(content):
                    self._evidence.add_ratings(level, self._to_log_user(entity) if level == USER else entity, ratings, updated)
            else:
                self._evidence.restore(self._starting_state(content))
        except (CheckpointError, ValueError, RecursionError) as error:  # invalid JSON or UTF-8 is a ValueError, deep nesting a RecursionError
            return self._keep_aside(str(error))
        except OSError as error:
            logger.error("%s cannot be read (%s), so it is neither restored nor written", self._path, error.strerror or error)  # noqa: TRY400  # says it all
            return False
        return True

    def _starting_state(self, content: Any) -> Mapping[str, Any]:
        """Return the evidence to start from, as :meth:`aamc_bandit.thompson.beta_evidence.BetaEvidence.to_json` returns it.

        Raises:
            CheckpointError: The file cannot be used.
        """
        if not isinstance(content, Mapping) or content.get("kind") != KIND:
            raise CheckpointError("it is neither a bandit's state nor one of vLLM Semantic Router")
        if content.get("schema") != SCHEMA:
            raise CheckpointError(f"its schema is {content.get('schema')!r}, not {SCHEMA}: another version wrote it")
        last, earlier, current = content.get("log"), content.get("earlier", []), self._identify_log()
        is_same = last == current or (current is not None and self._has(content.get("newest")))
        state: Any = content.get("began_with" if is_same else "learned")
        if not isinstance(state, Mapping) or not isinstance(last, str) or not isinstance(earlier, list):
            raise CheckpointError("it is incomplete")
        if not is_same and current in earlier:
            raise CheckpointError("it was used with another log after it learned this one, so this log's entries would count twice")
        self._earlier = earlier if is_same else [*earlier, last]
        if is_same:
            self._log_id, self.origin = last, str(content.get("origin", ""))
        if self._evidence.entities("global") and self._evidence.to_json() != content.get("began_with"):
            logger.warning(
                "%s replaces the evidence that the router was trained on, or loaded; to keep that evidence, move the file away", self._path
            )
        return state

    def _identify_log(self) -> str | None:
        """Return the id of the log's first decision; None only if the log is empty.

        Raises:
            StoreAwayError: The store cannot be reached.
        """
        if (found := first_decision(self._log)) is None:
            self._log.pending()  # raises where the store is away, as reading the experience does not
            found = first_decision(self._log)
        return found

    def _has(self, decision_id: object) -> bool:
        try:
            return isinstance(decision_id, str) and self._log.record(decision_id) is not None
        except UnknownDecisionError:
            return False

    def _keep_aside(self, reason: str) -> bool:
        """Rename the file; return whether that succeeded."""
        aside = next(path for n in range(1, 10**6) if not (path := self._path.with_name(f"{self._path.name}.damaged-{n}")).exists())
        try:
            self._path.rename(aside)
        except OSError as error:
            logger.error("%s cannot be used (%s) nor renamed (%s), so it is not written", self._path, reason, error.strerror or error)  # noqa: TRY400  # likewise
            return False
        logger.error("%s cannot be used (%s); it is renamed to %s, and learning starts without it", self._path, reason, aside)
        return True


def first_decision(log: Store) -> str | None:
    """Return the id of a log's first decision, which identifies the log; None if the log is empty or away."""
    decisions = log.experience(0, 1).decisions
    return decisions[0].id if decisions else None


def newest_decision(log: Store) -> str | None:
    """Return the id of a log's newest decision that has an entry among the last ones; None if there is none, or the log is away."""
    try:
        decisions = log.experience(max(0, log.position() - LAST_ENTRIES), LAST_ENTRIES).decisions
    except StoreAwayError:
        return None
    return decisions[-1].id if decisions else None


def _epoch_seconds(timestamp: Any) -> float:
    """Return an RFC 3339 timestamp in whole seconds since the epoch; 0 if it is invalid."""
    try:
        found = datetime.fromisoformat(re.sub(r"\.\d+|Z$", "", str(timestamp)))  # Python 3.10 takes neither
        return max(0.0, (found if found.tzinfo is not None else found.replace(tzinfo=timezone.utc)).timestamp())
    except ValueError:
        return 0.0
