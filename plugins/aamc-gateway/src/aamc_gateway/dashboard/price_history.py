"""The prices of the pool over time, kept with the log: the dashboard compares each answer at the prices of its time."""

from __future__ import annotations

import json
import logging
import time
from bisect import bisect_right
from collections.abc import Iterable, Mapping

import attrs

from aamc_gateway.access.shared import SharedState
from aamc_sdk.errors import StoreError
from aamc_sdk.types import Prices

logger = logging.getLogger(__name__)
_GROUP = "prices"


class PriceHistory:
    """Lists of prices, each with the time from which it holds, in seconds since the epoch; the first one also holds before.

    Attributes:
        lists: The prices by candidate, oldest first; there is at least one list.
    """

    def __init__(self, lists: Iterable[tuple[float, Mapping[str, Prices]]]) -> None:
        self._since: list[float] = []
        self.lists: list[Mapping[str, Prices]] = []
        for since, prices in lists:
            if not self.lists or prices != self.lists[-1]:
                self._since.append(since)
                self.lists.append(prices)
        self.lists = self.lists or [{}]

    def number_at(self, when: float) -> int:
        """Return the number of the list that holds at a time."""
        return max(0, bisect_right(self._since, when) - 1)

    def price(self, number: int, name: str) -> Prices | None:
        """Return the prices of a candidate in a list; else, where it was not in the pool, those before, else those after; None if it never was."""
        order = (*range(number, -1, -1), *range(number + 1, len(self.lists)))
        return next((self.lists[each][name] for each in order if name in self.lists[each]), None)


async def note_prices(shared: SharedState, prices: Mapping[str, Prices]) -> PriceHistory:
    """Return the history of prices that ends with the present ones, which are added to it if they differ from the last ones.

    Lists that cannot be read are left out, and while the shared state is away the present prices are the only ones: a dashboard stops no gateway.
    """
    lists: list[tuple[float, Mapping[str, Prices]]] = []
    try:
        for value in (await shared.scan(_GROUP)).values():
            try:
                since, given = json.loads(value)
                lists.append((float(since), {name: Prices(**each) for name, each in given.items()}))
            except (AttributeError, TypeError, ValueError) as error:
                logger.warning("the dashboard leaves out earlier prices that it cannot read: %r", error)
        lists.sort(key=lambda one: one[0])
        if prices and (not lists or lists[-1][1] != prices):
            now = time.time()
            lists.append((now, {**prices}))
            kept = json.dumps([now, {name: attrs.asdict(each) for name, each in prices.items()}])
            shared.put_later(f"{_GROUP}/{now!r}", kept.encode(), group=_GROUP)
    except StoreError as error:
        logger.warning("the dashboard knows the present prices alone, until the next start or reload: %s", error)
        return PriceHistory([(time.time(), prices)])
    return PriceHistory(lists)
