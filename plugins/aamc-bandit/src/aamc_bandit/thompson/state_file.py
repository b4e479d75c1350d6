"""The JSON state that ``storage_path`` names: a copy of what was learned, beside the log that it is learned from.

Nothing counts twice. The file says what the router began with, before it learned anything of the
log, and by whose first decision the log is known. Where a file is of the same log, the router
begins with the same again and learns the log; where it is of another one, or of vLLM Semantic
Router, the router begins with all that the file holds. A log whose lessons are among these
already, since the file went on to another log after it, cannot be added again: such a file is
kept aside.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs

from aamc_bandit.semantic_router.ratings import USER, Rated, is_ratings, read_ratings
from aamc_bandit.thompson.autosave import AutoSave
from aamc_bandit.thompson.durations import auto_save_seconds
from aamc_bandit.thompson.evidence import Cell, Evidence
from aamc_bandit.thompson.json_stream import Written, json_pieces, write_json_pieces
from aamc_sdk.errors import CheckpointError
from aamc_sdk.interfaces import Store

logger = logging.getLogger(__name__)
KIND, SCHEMA = "aamc-bandit", 1


class JsonState:
    """Reads the state when serving begins, and saves it every so often and at the end.

    A file that cannot be used is kept aside under another name and reported; learning then begins without it.

    Args:
        path: The file.
        learned: What is read and saved; it may be learned and read from all the while.
        log: What the router learns from.
        interval: Between two saves, as Go writes durations.
        known_as: What the log calls a user whom a file of vLLM Semantic Router names.
    """

    def __init__(self, path: Path, learned: Evidence, log: Store, interval: str, known_as: Callable[[str], str]) -> None:
        self._path = path
        self._learned = learned
        self._log = log
        self._known_as = known_as
        self._log_id: str | None = None
        self._earlier: list[str] = []
        self._began_with: Written | None = None
        seconds = auto_save_seconds(interval)
        usable = self._take_up()
        self._saved = self._version
        self._saving = AutoSave(self.save, seconds) if usable else None

    def begin(self) -> None:
        """Note what the router begins with, whenever the log is to be learned from its first entry."""
        self._began_with = Written("".join(json_pieces(self._learned.pairs())))
        self._log_id = first_decision(self._log)

    def save(self) -> None:
        """Write the state where it has changed, once it is known what it began with, and of which log it is: a server that is away does not say.

        Raises:
            OutputError: It cannot be written; the file is as it was.
        """
        version = self._version
        self._log_id = self._log_id or first_decision(self._log)
        if version == self._saved or self._began_with is None or self._log_id is None:
            return
        about = {"kind": KIND, "schema": SCHEMA, "saved": time.time(), "log": self._log_id, "earlier": self._earlier}
        write_json_pieces(self._path, iter((about | {"began_with": self._began_with, "learned": self._learned.pairs()}).items()))
        self._saved = version

    def close(self) -> None:
        """Save once more and stop; closing twice does nothing."""
        if self._saving is not None:
            self._saving.close()

    @property
    def _version(self) -> tuple[int, int]:
        """Another value whenever there is something new to save."""
        return self._learned.changes, self._learned.selections

    def _take_up(self) -> bool:
        """Take up what the file holds; return whether it may be written."""
        if not self._path.exists():
            return True
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            self._learned.restore(self._beginning(content))
        except (CheckpointError, ValueError, RecursionError) as error:  # what is no JSON, or no text, is a ValueError; or it is too deep
            return self._keep_aside(str(error))
        except OSError as error:
            logger.error("%s cannot be read (%s), so it is neither taken up nor written", self._path, error.strerror or error)  # noqa: TRY400  # says it all
            return False
        return True

    def _beginning(self, content: Any) -> Mapping[str, Any]:
        if is_ratings(content):
            return with_ratings(self._learned.plain(), self._as_known(read_ratings(content)), _seconds(content.get("last_updated")))
        if not isinstance(content, Mapping) or content.get("kind") != KIND:
            raise CheckpointError("it is no state of a bandit, and none of vLLM Semantic Router")
        if content.get("schema") != SCHEMA:
            raise CheckpointError(f"its schema is {content.get('schema')!r}, not {SCHEMA}: it was made by another version")
        last, earlier, here = content.get("log"), content.get("earlier", []), self._log_here()
        state: Any = content.get("began_with" if last == here else "learned")
        if not isinstance(state, Mapping) or not isinstance(last, str) or not isinstance(earlier, list):
            raise CheckpointError("it is incomplete")
        if here in earlier:
            raise CheckpointError("it went on to another log after it learned this one, whose entries would count twice")
        self._earlier = earlier if last == here else [*earlier, last]
        if self._learned.entities("global") and self._learned.plain() != content.get("began_with"):
            logger.warning("%s takes the place of what the router was trained on, or loaded; to start from that, move the file away", self._path)
        return state

    def _log_here(self) -> str | None:
        """Return what the log is known by, None of an empty one, which one whose server has just gone away must not be taken for.

        Raises:
            StoreAwayError: It has.
        """
        if (found := first_decision(self._log)) is None:
            self._log.pending()  # this one raises
            found = first_decision(self._log)
        return found

    def _as_known(self, rated: Sequence[Rated]) -> list[Rated]:
        return [attrs.evolve(group, whose=self._known_as(group.whose)) if group.level == USER else group for group in rated]

    def _keep_aside(self, why: str) -> bool:
        """Give the file another name; return whether that was possible."""
        aside = next(path for n in range(1, 10**6) if not (path := self._path.with_name(f"{self._path.name}.damaged-{n}")).exists())
        try:
            self._path.rename(aside)
        except OSError as error:
            logger.error("%s cannot be used (%s) nor kept aside (%s), so it is not written", self._path, why, error.strerror or error)  # noqa: TRY400  # likewise
            return False
        logger.error("%s cannot be used (%s); it is kept as %s, and learning begins without it", self._path, why, aside)
        return True


def first_decision(log: Store) -> str | None:
    """Return the id of a log's first decision, by which it is known from others; None of an empty one."""
    decisions = log.experience(0, 1).decisions
    return decisions[0].id if decisions else None


def with_ratings(state: Mapping[str, Any], rated: Sequence[Rated], updated: float) -> dict[str, Any]:
    """Return a state with what a file of vLLM Semantic Router adds to it.

    That file does not say which feedback was explicit; all counts as such.

    Args:
        state: As :meth:`aamc_bandit.thompson.evidence.Evidence.plain` returns it.
        rated: What the file holds.
        updated: When it was written, in seconds since the epoch.
    """
    levels = {level: dict(entities) for level, entities in state["levels"].items()}
    for group in rated:
        entity = levels[group.level].get(group.whose, {"heard": 0, "cells": {}})
        heard = max(entity["heard"], *(tally.feedback for tally in group.tallies.values()))
        cells = dict(entity["cells"])
        for name, tally in group.tallies.items():
            known = Cell(*cells[name]) if name in cells else Cell(at=heard)
            cells[name] = list(
                known._replace(
                    wins=known.wins + tally.wins,
                    losses=known.losses + tally.losses,
                    total=known.total + tally.feedback,
                    successes=known.successes + round(tally.wins),
                    explicit=known.explicit + tally.feedback,
                    updated=max(known.updated, updated),
                )
            )
        levels[group.level][group.whose] = {**entity, "heard": heard, "cells": cells}
    return {**state, "levels": levels}


def _seconds(timestamp: Any) -> float:
    """Return when an RFC 3339 timestamp was, in seconds since the epoch; 0 where it is none."""
    try:
        return max(0.0, datetime.fromisoformat(str(timestamp)[:19] + "+00:00").timestamp())
    except ValueError:
        return 0.0
