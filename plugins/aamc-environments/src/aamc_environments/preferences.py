"""The preferences of streams."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aamc_environments.common_random_numbers import PREFERENCES, CommonRandomNumbers
from aamc_sdk import Preference
from aamc_sdk.types import Floats

KINDS = ("dirichlet", "uniform", "fixed", "corners")
"""Even over the simplex; three uniform weights, rescaled; always the same; one objective alone."""


def draw(kind: str, exponentials: Floats) -> Floats:
    """Return preferences ``[..., n, 3]`` from standard exponentials ``[..., 3, n]``.

    Exponentials divided by their sum are Dirichlet(1, 1, 1); 1 - exp(-e) is uniform; each of three is
    equally likely to be the maximum.
    """
    if kind == "corners":
        return np.asarray(np.eye(3)[exponentials.argmax(axis=-2)])
    weights = -np.expm1(-exponentials) if kind == "uniform" else exponentials
    return np.asarray((weights / weights.sum(axis=-2, keepdims=True)).swapaxes(-1, -2))


class PreferenceSource:
    """The preferences of n streams: given, fixed, or drawn once a stream or once a step.

    Args:
        given: The caller's preferences, ``[n, 3]``; None to use the options.
        kind: One of ``KINDS``.
        fixed: The preference of kind ``"fixed"``, as text.
        per: ``"step"`` or ``"stream"``.
        seed: The seed of draws.
        streams: Each stream's number, ``[n]``.
    """

    def __init__(self, given: Floats | None, kind: str, fixed: str, per: str, seed: int, streams: NDArray[np.intp]) -> None:
        if given is None and kind == "fixed":
            given = Preference.parse(fixed).array
        self._given = None if given is None else np.broadcast_to(np.asarray(given, dtype=np.float64), (len(streams), 3))
        self._kind = kind
        self._per = per
        self._streams = streams
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Draw from a new seed."""
        self._random_numbers = CommonRandomNumbers(
            seed, PREFERENCES, self._streams, exponentials=3, uniforms=0, shape=lambda drawn, _: (draw(self._kind, drawn),)
        )

    def begin(self) -> None:
        """Restart all streams."""
        self.present: Floats = self._random_numbers.next()[0] if self._given is None else self._given

    def advance(self) -> None:
        """Move to the next step."""
        if self._given is None and self._per == "step":
            self.begin()
