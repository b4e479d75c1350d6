"""What feedback has said so far: wins and losses of every candidate, everywhere, by category, by user and by session.

Everything is learned one feedback after the other, so that a log gives the same evidence bit for bit however it is cut.
Memory is bounded: of users and of sessions only the last heard of are kept.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import numpy as np

from aamc_bandit.thompson.json_stream import write_json_pieces
from aamc_sdk.errors import CheckpointError
from aamc_sdk.storage import read_json
from aamc_sdk.types import Floats

LEVELS = ("global", "category", "user", "session")
"""Where evidence is kept; a level's entities are its categories, its users or its sessions, and one for all at the first."""
EVERYWHERE = ""
"""The name of the first level's one entity."""
_FINEST = 2.0**32


class Place(NamedTuple):
    """What a decision was made for; None where a name is not known."""

    category: str | None = None
    user: str | None = None
    session: str | None = None


class Verdict(NamedTuple):
    """What one feedback says of one candidate: a share of a win, one of a loss, and whether it counts as a success."""

    candidate: str
    wins: float
    losses: float
    success: bool


class Cell(NamedTuple):
    """What is known of one candidate at one entity.

    Attributes:
        wins: Weighted and, where that is configured, discounted.
        losses: Likewise.
        total: Verdicts so far.
        successes: How many of them were a success.
        at: The entity's count of feedback when this was last changed.
        explicit: How many of them somebody gave.
        implicit: How many of them were inferred.
        updated: When the last one was given, in seconds since the epoch.
    """

    wins: float = 0.0
    losses: float = 0.0
    total: int = 0
    successes: int = 0
    at: int = 0
    explicit: int = 0
    implicit: int = 0
    updated: float = 0.0


NOTHING = Cell()


@attrs.define
class Entity:
    """What is known of every candidate everywhere, in a category, of a user or in a session.

    Attributes:
        cells: By candidate.
        heard: How much feedback there was: the clock of discounting.
        recent: What the sliding window holds, oldest first; empty without one.
    """

    cells: dict[str, Cell] = attrs.field(factory=dict)
    heard: int = 0
    recent: deque[tuple[tuple[str, float, float], ...]] = attrs.field(factory=deque)

    def hear(self, verdicts: Sequence[Verdict], implicit: bool, time: float, discount: float, window: int) -> None:
        """Count one feedback: a verdict on each candidate that it names."""
        self.heard += 1
        for candidate, wins, losses, success in verdicts:
            cell = self.cells.get(candidate, NOTHING)
            kept = discount ** (self.heard - cell.at)
            self.cells[candidate] = Cell(
                wins=kept * cell.wins + wins,
                losses=kept * cell.losses + losses,
                total=cell.total + 1,
                successes=cell.successes + success,
                at=self.heard,
                explicit=cell.explicit + (not implicit),
                implicit=cell.implicit + implicit,
                updated=max(cell.updated, time),
            )
        if window:
            self.recent.append(tuple(verdict[:3] for verdict in verdicts))
            while len(self.recent) > window:
                self._take_back(self.recent.popleft())

    def _take_back(self, verdicts: Sequence[tuple[str, float, float]]) -> None:
        for candidate, wins, losses in verdicts:
            cell = self.cells[candidate]
            self.cells[candidate] = cell._replace(wins=cell.wins - wins, losses=cell.losses - losses)

    def plain(self) -> dict[str, Any]:
        """Return everything in JSON's own types."""
        recent = {"recent": [list(map(list, verdicts)) for verdicts in self.recent]} if self.recent else {}
        return {"heard": self.heard, "cells": {candidate: list(cell) for candidate, cell in self.cells.items()}, **recent}

    def table(self, candidates: Sequence[str], discount: float) -> Floats:
        """Return wins, losses, total and successes now, ``[M, 4]``."""
        cells = [self.cells.get(name, NOTHING) for name in candidates]
        table = np.array([number for cell in cells for number in cell[:4]], dtype=np.float64).reshape(-1, 4)
        if discount < 1:
            table[:, :2] *= discount ** (self.heard - np.array([[cell.at] for cell in cells]))
        return table


class Evidence:
    """Wins and losses by level, entity and candidate, and how many decisions were made.

    One thread may learn while others read: a candidate's numbers at an entity are replaced at once.

    Attributes:
        selections: Decisions so far.
        changes: Another number whenever something was learned.

    Args:
        discount: What evidence keeps of its weight with every later feedback about the same entity; 1 keeps all.
        window: Only so many of an entity's last feedback count; 0 counts all.
        max_users: Users that are remembered: those heard of last.
        max_sessions: Sessions that are remembered, likewise.
    """

    def __init__(self, *, discount: float = 1.0, window: int = 0, max_users: int = 100_000, max_sessions: int = 100_000) -> None:
        self.selections = 0
        self.changes = 0
        self._discount = discount
        self._window = window
        self._limits = {"user": max_users, "session": max_sessions}
        self._levels: dict[str, OrderedDict[str, Entity]] = {level: OrderedDict() for level in LEVELS}
        self._writing = threading.Lock()

    def entities(self, level: str) -> Mapping[str, Entity]:
        """Return what is known at a level, by the entity's name, in the order in which they were last heard of."""
        return self._levels[level]

    def hear(self, place: Place, verdicts: Sequence[Verdict], *, implicit: bool, time: float) -> None:
        """Count one feedback at every level that its place names."""
        if self._window:  # sums of such numbers are exact: what leaves the window leaves nothing behind
            verdicts = [verdict._replace(wins=_finest(verdict.wins), losses=_finest(verdict.losses)) for verdict in verdicts]
        with self._writing:
            for level, name in zip(LEVELS, (EVERYWHERE, *place), strict=True):
                if name is not None:
                    self._heard_of(level, name).hear(verdicts, implicit, time, self._discount, self._window)
            self.changes += 1

    def _heard_of(self, level: str, name: str) -> Entity:
        """Return an entity, which is now the last that was heard of; the first of too many is forgotten."""
        entities = self._levels[level]
        entity = entities.get(name)
        if entity is None:
            entity = entities[name] = Entity()
            if len(entities) > self._limits.get(level, len(entities)):
                entities.popitem(last=False)
        else:
            entities.move_to_end(name)
        return entity

    def knows(self, level: str, name: str) -> bool:
        """Return whether anything was heard of an entity."""
        return name in self._levels[level]

    def table(self, level: str, name: str, candidates: Sequence[str]) -> Floats:
        """Return wins, losses, total and successes at an entity, ``[M, 4]``; zeros where nothing is known."""
        entity = self._levels[level].get(name)
        return np.zeros((len(candidates), 4)) if entity is None else entity.table(candidates, self._discount)

    def plain(self) -> dict[str, Any]:
        """Return everything in JSON's own types; numbers keep all their digits there."""
        return {key: {level: dict(named) for level, named in value} if isinstance(value, Iterator) else value for key, value in self.pairs()}

    def pairs(self) -> Iterator[tuple[str, Any]]:
        """Yield the keys and values of :meth:`plain`, levels and entities as pairs likewise; nothing is learned until the last is taken."""
        with self._writing:
            yield "selections", self.selections
            yield "columns", list(Cell._fields)
            yield "levels", ((level, ((name, entity.plain()) for name, entity in entities.items())) for level, entities in self._levels.items())

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take the place of what is known by what :meth:`plain` returned.

        Raises:
            CheckpointError: It is something else.
        """
        try:
            if state["columns"] != list(Cell._fields):
                raise CheckpointError(f"the evidence has columns {state['columns']!r}, not {list(Cell._fields)!r}; it is of another version")
            levels = {level: OrderedDict((name, _entity(plain)) for name, plain in state["levels"][level].items()) for level in LEVELS}
            selections = _count(state["selections"])
            for level, most in self._limits.items():  # the state may be of one that remembered more
                while len(levels[level]) > most:
                    levels[level].popitem(last=False)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise CheckpointError(f"this is no evidence of a bandit ({error!r}); use what it saved") from error
        with self._writing:
            self.selections, self._levels = selections, levels
            self.changes += 1

    def forget(self, forgotten: Callable[[Collection[str]], Collection[str]]) -> None:
        """Drop users who were forgotten, and with them all sessions: nobody can tell whose these were.

        Args:
            forgotten: Says which of some users were.
        """
        gone = set(forgotten(self._levels["user"].keys()))
        if gone:
            kept = OrderedDict((name, entity) for name, entity in self._levels["user"].items() if name not in gone)
            with self._writing:
                self._levels = {**self._levels, "user": kept, "session": OrderedDict()}
                self.changes += 1

    def save(self, file: Path) -> None:
        """Write everything."""
        write_json_pieces(file, self.pairs())

    def load(self, file: Path) -> None:
        """Read what :meth:`save` wrote.

        Raises:
            CheckpointError: It is missing or damaged.
        """
        self.restore(read_json(file))


def _finest(value: float) -> float:
    """Return a number to the nearest multiple of 2^-32, of which a million add up without rounding."""
    return round(value * _FINEST) / _FINEST


def _entity(plain: Mapping[str, Any]) -> Entity:
    cells = {str(candidate): _cell(*numbers) for candidate, numbers in plain["cells"].items()}
    recent = deque(tuple((str(name), _amount(wins), _amount(losses)) for name, wins, losses in verdicts) for verdicts in plain.get("recent", ()))
    heard = _count(plain["heard"])
    if any(cell.at > heard for cell in cells.values()):
        raise ValueError(f"a candidate was heard of later than all {heard} feedbacks")
    return Entity(cells, heard, recent)


def _cell(wins: Any, losses: Any, total: Any, successes: Any, at: Any, explicit: Any, implicit: Any, updated: Any) -> Cell:
    return Cell(_amount(wins), _amount(losses), _count(total), _count(successes), _count(at), _count(explicit), _count(implicit), _amount(updated))


def _amount(number: Any) -> float:
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < math.inf:
        raise ValueError(f"{number!r} is no finite number of at least 0")
    return float(number)


def _count(number: Any) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise ValueError(f"{number!r} is no count")
    return number
