"""The budget of a collection, and the maximum cost of its calls."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import Any

from aamc_models.dialects import ANY_OUTPUT_LIMIT
from aamc_sdk.errors import ConfigError
from aamc_sdk.types import CHARACTERS_PER_TOKEN, Candidate, Prices

_ENVELOPE_TOKENS = 64
"""More tokens than a server adds around a message."""
TYPICAL_OUTPUT_TOKENS = 256
"""The tokens of an answer, as long as none of that model was seen."""


class CollectionBudget:
    """An amount that parallel work shares: maximum costs are reserved before, so that it cannot be overspent.

    Args:
        limit_usd: The amount; infinity for no limit.
        spent_usd: What was spent before.

    Attributes:
        reserved_usd: The part of it that work under way may still spend.
        holders: Number of reservations.
        exhausted: Whether an amount did not fit.
        settled: Notified whenever a reservation ends.
    """

    def __init__(self, limit_usd: float, spent_usd: float = 0.0) -> None:
        self.limit_usd, self.spent_usd = limit_usd, spent_usd
        self.exhausted = False
        self.reserved_usd = 0.0
        self.holders = 0
        self.settled = asyncio.Condition()

    async def reserve(self, usd: float) -> ReservedBudget | None:
        """Reserve an amount, once others have settled theirs; None if it does not fit: then nothing more is reserved. 0 always fits."""
        async with self.settled:
            await self.settled.wait_for(lambda: self.exhausted or self.fits(usd) or not self.holders)
            if usd and (self.exhausted or not self.fits(usd)):
                self.exhausted = True
                self.settled.notify_all()
                return None
            self.holders += 1
            self.reserved_usd += usd
            return ReservedBudget(self, usd)

    def fits(self, usd: float) -> bool:
        """Whether an amount is left that is neither spent nor reserved."""
        return self.spent_usd + self.reserved_usd + usd <= self.limit_usd


class ReservedBudget:
    """An amount that one piece of work may spend."""

    def __init__(self, budget: CollectionBudget, usd: float) -> None:
        self._budget, self._left_usd = budget, usd

    def charge(self, usd: float) -> None:
        """Spend an amount; more than was reserved counts too."""
        self._budget.spent_usd += usd
        self._reserve(-min(usd, self._left_usd))

    def extend(self, usd: float) -> bool:
        """Reserve more, if it fits now; return whether it did."""
        fits = self._budget.fits(usd)
        self._reserve(usd if fits else 0.0)
        return fits

    async def release(self) -> None:
        """Release the rest."""
        async with self._budget.settled:
            self._reserve(-self._left_usd)
            self._budget.holders -= 1
            self._budget.settled.notify_all()

    def _reserve(self, usd: float) -> None:
        self._left_usd += usd
        self._budget.reserved_usd += usd


def check_parameters(candidate: str, parameters: Mapping[str, Any]) -> None:
    """Check that the maximum cost of a candidate's requests can be known."""
    n = parameters.get("n")
    if n not in (None, 1):
        raise ConfigError(f"{candidate} would be paid for n={n} answers a prompt, of which only the first is judged; leave out the parameter n")
    for name in ANY_OUTPUT_LIMIT:
        limit = parameters.get(name)
        if limit is not None and not (type(limit) is int and limit >= 1):
            raise ConfigError(f"the parameter {name} of {candidate} must be a whole number of at least 1, not {limit!r:.80}")


def limited(candidate: Candidate, options: Mapping[str, Any], max_tokens: int) -> dict[str, Any]:
    """Return the parameters of a candidate's requests, with a maximum of tokens unless they have one; null is none."""
    own = getattr(candidate, "parameters", {})
    if limits(options):
        own = {name: value for name, value in own.items() if name not in ANY_OUTPUT_LIMIT}
    parameters = {name: value for name, value in {**own, **options}.items() if value is not None or name not in ANY_OUTPUT_LIMIT}
    return parameters if limits(parameters) else {**parameters, "max_tokens": max_tokens}


def limits(parameters: Mapping[str, Any]) -> list[int]:
    """Return the maximums of tokens in the parameters of a request."""
    return [parameters[name] for name in ANY_OUTPUT_LIMIT if parameters.get(name) is not None]


def maximum_usd(prices: Prices | None, text_bytes: int, output_tokens: int) -> float:
    """Return the maximum cost of a call; 0 if prices are unknown. A token of a prompt has at least one byte."""
    if prices is None:
        return 0.0
    tokens = text_bytes + _ENVELOPE_TOKENS
    return max(prices.cost_usd(tokens, output_tokens), prices.cost_usd(tokens, output_tokens, written_tokens=tokens))


def expected_usd(prices: Prices | None, characters: int, output_tokens: float) -> float:
    """Return the expected cost of a call; 0 if prices are unknown."""
    if prices is None:
        return 0.0
    return prices.cost_usd(math.ceil(characters / CHARACTERS_PER_TOKEN), output_tokens)
