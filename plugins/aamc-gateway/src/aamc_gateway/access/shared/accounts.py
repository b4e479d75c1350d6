"""The arithmetic of reservations."""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping, Sequence

import attrs

from aamc_gateway.access.shared.operations import Claim, Exceeded, Reserve, Settle

TOLERANCE = 1e-9
"""Share of a limit by which sums may pass it: ten times 0.1 fit into 1."""
Held = Sequence[tuple[str, float]]
"""The amounts of a reservation, by name of the counter."""


@attrs.define
class Counter:
    """A counter: the charged amount, the amount that open reservations hold, and the time of its expiry in seconds since the epoch."""

    charged: float = 0.0
    held: float = 0.0
    expires: float = math.inf


class Accounts:
    """Counters and reservations while operations are applied to them.

    Attributes:
        changed: The changed counters, by name.
        begun: What each new reservation holds, by token.
        ended: The tokens of settled reservations.
        complete: Whether the reservations of dead processes were given back.
    """

    def __init__(self, counters: dict[str, Counter], reservations: dict[str, Held]) -> None:
        self._counters, self._reservations = counters, reservations
        self.changed: MutableMapping[str, Counter] = {}
        self.begun: MutableMapping[str, Held] = {}
        self.ended: set[str] = set()
        self.complete = False

    def used(self, counter: str, *, held: bool = True) -> float:
        """Return the charged amount of a counter, and what reservations hold."""
        found = self._counters.get(counter)
        return 0.0 if found is None else found.charged + found.held * held

    def reserve(self, operation: Reserve) -> float | Exceeded:
        """Hold the amounts of all claims, or of none."""
        granted = math.inf
        for index, claim in enumerate(operation.claims):
            used_before = claim.weight * self.used(claim.before) if claim.before else 0.0
            used = self.used(claim.counter) + used_before
            left = max(0.0, claim.limit * (1 + TOLERANCE) - used)
            if left < claim.minimum:
                counter = self._counters.get(claim.counter)
                return Exceeded(index, used, 0.0 if counter is None else counter.held, used_before)
            if claim.minimum < claim.amount:
                granted = min(granted, claim.amount, claim.limit - used)
        granted = max(0.0, granted)
        if granted < math.inf:
            granted = max((amount for amount in operation.steps if amount <= granted * (1 + TOLERANCE)), default=granted)
        held = [(claim.counter, min(claim.amount, granted) if claim.minimum < claim.amount else claim.amount) for claim in operation.claims]
        for claim, (name, amount) in zip(operation.claims, held, strict=True):
            self._change(name, held=amount, claim=claim)
        self._reservations[operation.token] = self.begun[operation.token] = held
        return granted

    def settle(self, operation: Settle) -> None:
        """Charge a reservation, unless that has been done."""
        held = self._reservations.pop(operation.token, None)
        if held is None:
            return
        for claim, (name, amount), charge in zip(operation.claims, held, operation.charges, strict=True):
            self._change(name, held=-amount, charged=charge, claim=claim)
        if self.begun.pop(operation.token, None) is None:
            self.ended.add(operation.token)

    def give_back(self, held: Held) -> None:
        """Release the amounts of a reservation."""
        for name, amount in held:
            self._change(name, held=-amount)

    def add(self, counters: Mapping[str, Counter]) -> None:
        """Add counters that were not known."""
        for name, counter in counters.items():
            self._counters.setdefault(name, counter)

    def _change(self, name: str, *, held: float, charged: float = 0.0, claim: Claim | None = None) -> None:
        counter = self._counters.setdefault(name, Counter())
        counter.held = max(0.0, counter.held + held)
        counter.charged += charged
        if claim is not None:
            counter.expires = claim.expires
        self.changed[name] = counter
