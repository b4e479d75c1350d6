"""Common random numbers: streams of one number meet the same luck, whatever is done in them.

Numbers are drawn for groups of streams and blocks of steps, so stream 5 is the same beside ten
thousand others as alone, and no loop runs over streams.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aamc_sdk.batch import Floats

GROUP = 32
"""Streams that share a generator."""
BLOCK = 32
"""Steps drawn at once."""


class Luck:
    """Random numbers of n streams, step by step.

    Args:
        seed: All follows from it, at least 0.
        purpose: Numbers for different purposes are independent.
        streams: Each stream's number, ``[n]``.
        exponentials: How many standard exponentials a step takes.
        uniforms: How many numbers in [0, 1) a step takes.
    """

    def __init__(self, seed: int, purpose: int, streams: NDArray[np.intp], *, exponentials: int = 0, uniforms: int = 0) -> None:
        groups, place = np.unique(streams // GROUP, return_inverse=True)
        self._generators = [np.random.default_rng((seed, purpose, int(group))) for group in groups]
        column = place * GROUP + streams % GROUP
        self._columns = column
        self._counts = (exponentials, uniforms)
        self._step = BLOCK
        self._exponential = self._uniform = np.empty(0)

    def next(self) -> tuple[Floats, Floats]:
        """Return the next step's ``[exponentials, n]`` and ``[uniforms, n]``."""
        if self._step == BLOCK:
            self._refill()
        step = self._step
        self._step += 1
        return self._exponential[step], self._uniform[step]

    def _refill(self) -> None:
        exponentials, uniforms = self._counts
        drawn = [
            (generator.standard_exponential((BLOCK, exponentials, GROUP)), generator.random((BLOCK, uniforms, GROUP)))
            for generator in self._generators
        ]
        self._exponential, self._uniform = (np.concatenate(parts, axis=2).take(self._columns, axis=2) for parts in zip(*drawn, strict=True))
        self._step = 0
