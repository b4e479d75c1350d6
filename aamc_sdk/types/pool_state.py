"""The present state of a model pool."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import attrs

from aamc_sdk.errors import DataError
from aamc_sdk.types.checks import MAX_FIGURE, is_figure, names_field


def _amounts(values: Mapping[str, float]) -> dict[str, float]:
    if not isinstance(values, Mapping):
        raise DataError(f"values of a pool's state must be given by candidate's name, such as {{'small': 20.0}}, not {values!r:.80}")
    return dict(values)


def _check_amounts(state: PoolState, attribute: attrs.Attribute[Any], values: Mapping[str, float]) -> None:
    for name, value in values.items():
        if not is_figure(value):
            raise DataError(f"{attribute.name} of {name!r} must be a number from 0 to {MAX_FIGURE:g}, not {value!r:.80}")


@attrs.frozen(kw_only=True)
class PoolState:
    """The present state of the candidates. A candidate without an entry has 0 there, and no rate limit.

    Attributes:
        unavailable: Names of candidates that are down.
        wait_ms: Time until a candidate could start, in milliseconds, by name.
        in_flight: Requests in progress at a candidate, by name.
        pressure: How scarce a candidate is beyond its wait, by name: the used share of its rate limit or budget, its outstanding work relative to
            its capacity, or 1 for an announced burst of traffic. Routers that plan ahead read it, on the scale of the environment that they were
            trained in; the others ignore it.
        remaining: Requests that a candidate's rate limit still allows, by name; a candidate with none left is masked.

    Raises:
        DataError: A value cannot be used.
    """

    unavailable: frozenset[str] = attrs.field(default=frozenset(), converter=names_field)
    wait_ms: Mapping[str, float] = attrs.field(factory=dict, converter=_amounts, validator=_check_amounts)
    in_flight: Mapping[str, float] = attrs.field(factory=dict, converter=_amounts, validator=_check_amounts)
    pressure: Mapping[str, float] = attrs.field(factory=dict, converter=_amounts, validator=_check_amounts)
    remaining: Mapping[str, float] = attrs.field(factory=dict, converter=_amounts, validator=_check_amounts)

    def without(self, names: Collection[str]) -> PoolState:
        """Return the state with more candidates unavailable."""
        return attrs.evolve(self, unavailable=self.unavailable | frozenset(names))
