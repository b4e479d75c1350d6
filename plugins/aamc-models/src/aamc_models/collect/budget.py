"""The budget of a collection."""

from __future__ import annotations

import asyncio


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
