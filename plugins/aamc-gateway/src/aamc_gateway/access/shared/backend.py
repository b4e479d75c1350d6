"""The interface of the places where shared state is kept."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

from aamc_gateway.access.shared.operations import Operation


class Backend(abc.ABC):
    """Keeps shared state. Its methods are called from one thread at a time, and may wait."""

    @abc.abstractmethod
    def apply(self, operations: Sequence[Operation]) -> Sequence[Any]:
        """Apply operations in order and return their results.

        Raises:
            StoreAwayError: The server is away, or the file is locked; whether something was applied is then unknown.
        """

    @abc.abstractmethod
    def renew(self) -> None:
        """Renew the lease of this process's reservations, and remove expired entries. It is called every few seconds.

        Raises:
            StoreAwayError: As for :meth:`apply`.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Close connections; closing twice does nothing."""
