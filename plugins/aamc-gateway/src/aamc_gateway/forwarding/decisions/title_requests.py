"""A client's own requests for a title or a summary, its side requests: the cheapest candidate answers them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping


def cheapest(costs_usd: Mapping[str, float], allowed: Collection[str]) -> str | None:
    """Return the allowed candidate with the lowest maximum cost of an answer; None if no cost is known."""
    known = {name: cost for name, cost in costs_usd.items() if name in allowed and not math.isnan(cost)}
    return min(known, key=lambda name: known[name]) if known else None
