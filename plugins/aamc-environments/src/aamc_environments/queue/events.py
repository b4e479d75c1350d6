"""Scheduled events: changes of the pool while streams run."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk import Pool, option
from aamc_sdk.errors import ConfigError
from aamc_sdk.types import Floats

KINDS = ("drift", "price", "down", "up", "join")


@attrs.frozen(kw_only=True)
class Event:
    """A change of a candidate at a step of every stream."""

    at: int = option(0, "Step of the event, counted from 0.", at_least=0)
    candidate: str = option("", "Name of the candidate.")
    kind: str = option(
        "down",
        "drift: quality changes; price: prices change; down, up, join: availability changes.",
        choices=KINDS,
    )
    shift: float = option(0.0, "drift: change of the log-odds of success.")
    over: int = option(0, "drift: steps until the change is complete; 0: at once.", at_least=0)
    factor: float = option(1.0, "price: multiple of the list price.", at_least=0.0)

    def __attrs_post_init__(self) -> None:
        own = {"drift": ("shift", "over"), "price": ("factor",)}.get(self.kind, ())
        for name in ("shift", "over", "factor"):
            if name not in own and getattr(self, name) != getattr(attrs.fields(Event), name).default:
                raise ConfigError(f"events: {name} is not an option of an event of kind {self.kind!r} (of {self.candidate!r} at step {self.at})")
        if self.kind == "drift" and self.shift == 0:
            raise ConfigError(f"events: the drift of {self.candidate!r} at step {self.at} needs a shift, the change of the log-odds of success")


@attrs.frozen(eq=False)
class Conditions:
    """The conditions between two events: price multiples ``[M]`` and available candidates ``[M]``."""

    price: Floats
    available: NDArray[np.bool_]


class Schedule:
    """The events of a stream, in order.

    Raises:
        PoolError: The pool lacks the candidate of an event.
        ConfigError: A candidate that is available comes up or joins.
    """

    def __init__(self, events: Sequence[Event], pool: Pool) -> None:
        self._events = sorted(events, key=lambda event: event.at)
        self._pool = pool
        self._drifts = [(event, pool.index(event.candidate)) for event in self._events if event.kind == "drift"]
        self._starts = sorted({0, *(event.at for event in self._events if event.kind != "drift")})
        self._steps = {*self._starts, *(step for event, _ in self._drifts for step in range(event.at, event.at + event.over + 1))}
        self.conditions = self._all_conditions()

    def changes(self, step: int) -> bool:
        """Return whether conditions or drift at a step differ from those at the step before."""
        return step in self._steps

    def phase(self, step: int) -> int:
        """Return the index of the ``conditions`` at a step."""
        return bisect_right(self._starts, step) - 1

    def drift(self, step: int) -> Floats:
        """Return the change of each candidate's log-odds of success until a step, ``[M]``."""
        moved = np.zeros(len(self._pool))
        for event, m in self._drifts:
            if step >= event.at:
                moved[m] += event.shift * min(1.0, (step - event.at + 1) / (event.over + 1))
        return moved

    def _all_conditions(self) -> list[Conditions]:
        available = np.ones(len(self._pool), dtype=bool)
        for event in self._events:
            available[self._pool.index(event.candidate)] &= event.kind != "join"
        price = np.ones(len(self._pool))
        found = []
        for start in self._starts:
            for event in (event for event in self._events if event.at == start):
                self._apply(event, price, available)
            found.append(Conditions(price.copy(), available.copy()))
        return found

    def _apply(self, event: Event, price: Floats, available: NDArray[np.bool_]) -> None:
        m = self._pool.index(event.candidate)
        if event.kind == "price":
            price[m] = event.factor
        elif event.kind in ("up", "join"):
            if available[m]:
                raise ConfigError(f"events: {event.candidate!r} cannot {event.kind} at step {event.at}: it is available already")
            available[m] = True
        elif event.kind == "down":
            available[m] = False
