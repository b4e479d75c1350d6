"""The operations on shared state, plain values, and the interface of the backends that apply them."""

from __future__ import annotations

import abc
from collections.abc import Collection, Sequence
from typing import Any, TypeVar

import attrs
import msgspec

T = TypeVar("T")

LEASE_S = 30.0
"""Time in seconds after which the reservations of a worker that has died are given back."""
RENEWALS = 6
"""Number of times that a worker renews its lease within ``LEASE_S``."""


def decoded(value: bytes, kind: type[T]) -> T | None:
    """Return a plain value in JSON as a type; None for one that is damaged, or of another version."""
    try:
        return msgspec.json.decode(value, type=kind)
    except msgspec.MsgspecError:
        return None


@attrs.frozen
class Claim:
    """A claim on a counter with a limit.

    Attributes:
        counter: The counter's name, with the start of its window.
        limit: The maximum of the charged and held amount.
        amount: The amount to hold until the claim is settled.
        minimum: The amount below which the claim is refused. All claims of a reservation with a ``minimum`` below ``amount`` get the same amount,
            between both.
        expires: When the counter is no longer needed, in seconds since the epoch; infinity for never.
        before: The counter of the window before, which counts too, with a weight; ``""`` for none.
        weight: The weight of the window before, from 0 to 1.
    """

    counter: str
    limit: float
    amount: float
    minimum: float
    expires: float
    before: str = ""
    weight: float = 0.0


@attrs.frozen
class Exceeded:
    """A reservation that was not made.

    Attributes:
        claim: The index of the first claim that does not fit.
        used: What is charged and held already.
        held: The part of it that open reservations hold.
        used_before: The part of it that comes from the window before.
    """

    claim: int
    used: float
    held: float = 0.0
    used_before: float = 0.0


@attrs.frozen
class Get:
    """Return a value, or None."""

    key: str


@attrs.frozen
class Put:
    """Keep a value for some time; in a group of limited size, the oldest values go first.

    Attributes:
        key: Its key.
        value: The value.
        ttl_s: Time for which it is kept, in seconds by the backend's clock; infinity for good.
        group: The name of its group; ``""`` for none.
        max_bytes: The maximum size of the group's values in bytes, which each process may exceed by a hundredth; 0 for no limit.
    """

    key: str
    value: bytes
    ttl_s: float
    group: str = ""
    max_bytes: int = 0


@attrs.frozen
class PutIf:
    """Put values if a value is still the expected one, and return whether it was.

    Attributes:
        key: The key of the compared value.
        expected: The expected value; None for none.
        puts: What to put, all at once.
    """

    key: str
    expected: bytes | None
    puts: Sequence[Put]


@attrs.frozen
class Delete:
    """Remove a value."""

    key: str


@attrs.frozen
class Scan:
    """Return the values of a group, by key."""

    group: str


@attrs.frozen
class Reserve:
    """Hold the amounts of all claims, or of none.

    Return the amount of the claims with a ``minimum`` below ``amount``, infinity without such claims; or :class:`Exceeded`.

    Attributes:
        token: The token of the reservation.
        claims: The claims.
        steps: Amounts of which the largest that fits is held by claims with a ``minimum`` below ``amount``; all that is left where none fits.
    """

    token: str
    claims: Sequence[Claim]
    steps: Sequence[float] = ()


@attrs.frozen
class Settle:
    """End a reservation: release its amounts and charge others instead; once, however often it is applied.

    Attributes:
        token: Its token. A reservation that was given back holds nothing more, and is still charged.
        claims: Its claims.
        charges: The amount to charge for each claim.
    """

    token: str
    claims: Sequence[Claim]
    charges: Sequence[float]


@attrs.frozen
class Read:
    """Return the amount of each counter.

    Attributes:
        counters: The counters.
        held: Whether the amounts of open reservations count too.
    """

    counters: Sequence[str]
    held: bool = True


Operation = Get | Put | PutIf | Delete | Scan | Reserve | Settle | Read


class Backend(abc.ABC):
    """Keeps shared state. Its methods are called from one thread at a time, and may wait.

    Raises:
        StoreAwayError: The server is away, or the file is locked; whether something was applied is then unknown.
    """

    @abc.abstractmethod
    def apply(self, operations: Sequence[Operation]) -> Sequence[Any]:
        """Apply operations in order and return their results."""

    @abc.abstractmethod
    def renew(self, open_tokens: Collection[str]) -> None:
        """Renew the lease of this process's reservations, and remove expired entries. It is called every few seconds.

        Reservations of this process that are not among ``open_tokens`` are given back: a server that takes over, or starts again after a crash,
        may have lost their settlements.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Close connections; closing twice does nothing."""
