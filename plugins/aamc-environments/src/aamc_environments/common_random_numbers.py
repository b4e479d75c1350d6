"""Common random numbers: streams of the same number draw the same random numbers, whatever actions are taken in them.

Numbers are drawn for groups of streams and blocks of steps. Stream 5 is therefore the same alone as among ten thousand,
and no loop runs over streams.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aamc_sdk.types import Floats

Steps = tuple[Iterable[Any], ...]
"""Arrays or lists of a block, each with an entry per step."""
QUERIES, PREFERENCES = range(2)
"""Purposes of random numbers."""
GROUP = 32
"""Streams that share a generator."""
BLOCK = 32
"""Steps drawn at once."""


class CommonRandomNumbers:
    """Random numbers of n streams, step by step.

    Args:
        seed: The seed, at least 0.
        purpose: ``QUERIES`` or ``PREFERENCES``; numbers for different purposes are independent.
        streams: Each stream's number, ``[n]``.
        exponentials: Standard exponentials per step.
        uniforms: Numbers in [0, 1) per step.
        shape: Turns a block's exponentials ``[BLOCK, exponentials, n]`` and uniforms ``[BLOCK, uniforms, n]`` into entries per step.
    """

    def __init__(
        self, seed: int, purpose: int, streams: NDArray[np.intp], *, exponentials: int, uniforms: int, shape: Callable[[Floats, Floats], Steps]
    ) -> None:
        groups, place = np.unique(streams // GROUP, return_inverse=True)
        self._generators = [np.random.default_rng((seed, purpose, int(group))) for group in groups]
        columns = place * GROUP + streams % GROUP
        self._columns = None if np.array_equal(columns, np.arange(len(groups) * GROUP)) else columns  # None: each, in order
        self._counts = (exponentials, uniforms)
        self._shape = shape
        self._steps: Iterator[tuple[Any, ...]] = iter(())

    def next(self) -> tuple[Any, ...]:
        """Return the entries of the next step."""
        step = next(self._steps, None)
        if step is None:
            self._steps = zip(*self._shape(*self._draw()), strict=True)
            step = next(self._steps)
        return step

    def _draw(self) -> tuple[Floats, Floats]:
        exponentials, uniforms = self._counts
        drawn = [
            (generator.standard_exponential((BLOCK, exponentials, GROUP)), generator.random((BLOCK, uniforms, GROUP)))
            for generator in self._generators
        ]
        first, second = (np.concatenate(parts, axis=2) for parts in zip(*drawn, strict=True))
        return (first, second) if self._columns is None else (first.take(self._columns, axis=2), second.take(self._columns, axis=2))
