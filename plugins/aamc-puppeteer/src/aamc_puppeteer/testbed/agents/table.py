"""Agent ``table``: looks up cells in the task's CSV tables."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from aamc_agents.state import TaskState
from aamc_agents.tool import AgentError, Tool, subject

from aamc_sdk import Candidate
from aamc_sdk.errors import unknown_name

Row = Mapping[str, str]

_CELL = re.compile(r"the (?P<column>\w+) of (?P<key>(?!its\b)[^,.?]+?) in (?P<file>[\w-]+\.csv)")
_EVERY = re.compile(r"Add up the (?P<column>\w+) of every \w+ whose (?P<where>\w+) is (?P<key>[^,.?]+?) in (?P<file>[\w-]+\.csv)")
_ITS = re.compile(r"\bits (\w+)\b")
_ASKED = re.compile(r"What is ([^?]+)\?|Multiply ([\d.]+) by ([\d.]+)\.")


class TableLookup(Tool):
    """Replaces a reference to a table by its content; one row, or the rows of one sum, a call."""

    spec = Candidate("table", "Looks up rows and cells of the CSV tables that came with the task: prices, quantities, orders and the like.")

    async def act(self, state: TaskState) -> str:
        """Return the last output with its first reference to a table replaced."""
        return look_up(subject(state), state.task.files)


def look_up(text: str, files: Mapping[str, str]) -> str:
    """Return a text with its first reference to a table replaced by the content.

    Without further references, only the answer or the remaining arithmetic is returned.

    Raises:
        AgentError: The text refers to no table, or to a missing table, column or row.
    """
    if every := _EVERY.search(text):
        chosen = _where(_rows(files, every["file"]), every["where"], every["key"])
        return " + ".join(_cell(row, every["column"]) for row in chosen)
    found = _CELL.search(text)
    if found is None:
        raise AgentError(f"no table is asked for in {text!r:.80}")
    rows = _rows(files, found["file"])
    row = _where(rows, next(iter(rows[0])), found["key"])[0]
    replaced = text.replace(found[0], _cell(row, found["column"]), 1)
    return _what_is_left(_ITS.sub(lambda its: _cell(row, its[1]), replaced))


def _what_is_left(text: str) -> str:
    asked = _ASKED.fullmatch(text)
    if _CELL.search(text) or asked is None:
        return text
    return asked[1] or f"{asked[2]} * {asked[3]}"


def _rows(files: Mapping[str, str], name: str) -> Sequence[Row]:
    if name not in files:
        raise AgentError(unknown_name("there is no table", name, files, "there are"))
    rows = _read(files[name])
    if not rows:
        raise AgentError(f"table {name!r} has no rows")
    return rows


@lru_cache(maxsize=1024)
def _read(content: str) -> Sequence[Row]:
    return tuple(csv.DictReader(io.StringIO(content)))


def _where(rows: Sequence[Row], column: str, key: str) -> list[Row]:
    found = [row for row in rows if _cell(row, column).casefold() == key.casefold()]
    if not found:
        raise AgentError(f"no row has {column} {key!r}")
    return found


def _cell(row: Row, column: str) -> str:
    if row.get(column) is None:
        raise AgentError(unknown_name("the table has no column", column, row))
    return row[column]
