"""Suite ``tables``, and the agent ``table`` that looks its cells up: questions about a price list and a list of orders.

Difficulty 1 asks for a cell; 2 for a sum over rows, which must be looked up and added; 3 for a product of cells of two
tables, the second of which is found through the first.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from random import Random

from aamc_agents.state import TaskState
from aamc_agents.tasks import Task
from aamc_agents.tool import AgentError, Tool, subject

from aamc_puppeteer.tasks.verifiers import Numeric
from aamc_puppeteer.testbed.arithmetic import NAMES
from aamc_sdk import Candidate
from aamc_sdk.messages import check_known, unknown_name

ITEMS = ("kelp soap", "oak tray", "tin lamp", "wool hat", "clay mug", "silk scarf", "iron pan", "glass jar", "straw mat", "brass bell")
SHOPS = ("harbour", "station", "market", "castle", "airport", "bridge", "campus", "garden", "museum", "village", "tower", "valley", "forest", "lake")


def make(task_id: str, rng: Random, difficulty: int) -> Task:
    """Return a task of a difficulty from 1 to 3, with its tables."""
    shop, items = rng.choice(SHOPS), rng.sample(ITEMS, 6)
    price_list, order_list = f"{shop}-prices.csv", f"{shop}-orders.csv"
    prices = {item: rng.randint(4, 199) / 2 for item in items}
    stock = {item: rng.randint(2, 400) for item in items}
    orders = [(f"R{number}", rng.choice(NAMES[:4]), rng.choice(items), rng.randint(2, 25)) for number in rng.sample(range(1000, 10_000), 12)]
    item, (number, _, ordered, quantity) = rng.choice(items), rng.choice(orders)
    buyers = [order[1] for order in orders]
    buyer = rng.choice([name for name in buyers if buyers.count(name) > 1])  # three orders each on average: there is one
    if difficulty == 1:
        column, value = rng.choice((("price", prices[item]), ("stock", stock[item])))
        text, answer = f"What is the {column} of {item} in {price_list}?", float(value)
    elif difficulty == 2:
        text = f"Add up the quantity of every order whose buyer is {buyer} in {order_list}."
        answer = float(sum(order[3] for order in orders if order[1] == buyer))
    else:
        text = f"Multiply the quantity of {number} in {order_list} by the price of its item in {price_list}."
        answer = quantity * prices[ordered]
    files = {
        price_list: _csv("item,price,stock", [(item, prices[item], stock[item]) for item in items]),
        order_list: _csv("order,buyer,item,quantity", orders),
    }
    return Task(id=task_id, text=text, kind="tables", verifier=Numeric(), reference=f"{answer:g}", difficulty=difficulty, files=files)


def _csv(header: str, rows: Sequence[tuple[object, ...]]) -> str:
    return "\n".join((header, *(",".join(map(str, row)) for row in rows), ""))


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
    """
    if every := _EVERY.search(text):
        chosen = _where(_rows(files, every["file"]), every["where"], every["key"])
        return " + ".join(_cell(row, every["column"]) for row in chosen)
    found = _CELL.search(text)
    if found is None:
        raise AgentError(f"no table is asked for in {text!r:.80}")
    rows = _rows(files, found["file"])
    row = _where(rows, next(iter(rows[0])), found["key"])[0]
    replaced = _ITS.sub(lambda its: _cell(row, its[1]), text.replace(found[0], _cell(row, found["column"]), 1))
    asked = _ASKED.fullmatch(replaced)
    if _CELL.search(replaced) or asked is None:
        return replaced
    return asked[1] or f"{asked[2]} * {asked[3]}"


def _rows(files: Mapping[str, str], name: str) -> Sequence[Row]:
    check_known([name], files, "there is no table", AgentError, "there are")
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
