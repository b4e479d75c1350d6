"""The order in which other candidates are called after a call of the chosen one has failed."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aamc_sdk import Decision


def fallbacks(decision: Decision, costs_usd: Mapping[str, float], allowed: Collection[str], *, cheap_first: bool) -> list[str]:
    """Return the allowed candidates besides the chosen one, the best first.

    The order is the router's. Where it has scored one candidate only, the expensive ones are first, or the cheap ones.

    Args:
        decision: The decision.
        costs_usd: The maximum cost of an answer of each candidate.
        allowed: The candidates that may be called.
        cheap_first: Whether the cheap ones are first, as for the request of a title.
    """
    order = decision.fallback_order if len(decision.utilities) > 1 else _by_cost(costs_usd, cheap_first)
    return [name for name in order if name != decision.candidate and name in allowed]


def _by_cost(costs_usd: Mapping[str, float], cheap_first: bool) -> list[str]:
    """Return candidates by their maximum cost; an unknown one counts as 0."""
    costs = {name: 0.0 if math.isnan(cost) else cost for name, cost in costs_usd.items()}
    return sorted(costs, key=lambda name: costs[name], reverse=not cheap_first)
