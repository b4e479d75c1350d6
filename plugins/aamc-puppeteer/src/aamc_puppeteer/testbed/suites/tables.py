"""Suite ``tables``: questions about a price list and a list of orders.

Difficulty 1 asks for a cell; 2 for a sum over rows, which must be looked up and added; 3 for a product of cells of two
tables, the second of which is found through the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from aamc_agents.tasks import Task

from aamc_puppeteer.tasks.verifiers import Numeric
from aamc_puppeteer.testbed.suites.arithmetic import NAMES

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
