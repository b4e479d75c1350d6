"""The targets of the heads, from a dataset's labels and outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.types import Dataset, Floats

UNLABELLED = -1
"""The category index of a row without a category."""


@attrs.frozen(eq=False)
class Targets:
    """The labels of B rows; NaN or ``UNLABELLED`` where unknown.

    Attributes:
        complexity: From 0 to 1, ``[B]``; one minus the candidates' mean quality if it was not annotated.
        category: Index into ``category_names``, ``[B]``.
        tool_use: 0 or 1, ``[B]``.
        quality: From 0 to 1, ``[B, M]``.
        category_names: C names.
        candidates: The names of the M candidates that have at least one outcome.
    """

    complexity: Floats
    category: NDArray[np.int64]
    tool_use: Floats
    quality: Floats
    category_names: tuple[str, ...]
    candidates: tuple[str, ...]

    @classmethod
    def of(cls, dataset: Dataset, like: Targets | None = None) -> Targets:
        """Return the targets of a dataset, with the categories and candidates of ``like`` or its own."""
        labels = dataset.labels
        annotated = () if labels.category is None else tuple(sorted({str(name) for name in labels.category if name}))
        names = annotated if like is None else like.category_names
        candidates = _known_candidates(dataset) if like is None else like.candidates
        quality = _quality(dataset, candidates)
        complexity = _mean_difficulty(quality) if labels.complexity is None else np.asarray(labels.complexity, dtype=np.float64)
        return cls(
            complexity=complexity,
            category=_indices(labels.category, names, len(dataset)),
            tool_use=np.full(len(dataset), np.nan) if labels.tool_use is None else np.asarray(labels.tool_use, dtype=np.float64),
            quality=quality,
            category_names=names,
            candidates=candidates,
        )

    def __len__(self) -> int:
        return len(self.complexity)

    def take(self, rows: NDArray[np.intp]) -> Targets:
        """Return the labels of rows."""
        return attrs.evolve(
            self,
            complexity=self.complexity[rows],
            category=self.category[rows],
            tool_use=self.tool_use[rows],
            quality=self.quality[rows],
        )

    def head_sizes(self) -> dict[str, int]:
        """Return the number of outputs of each head that has labels."""
        sizes = {
            "complexity": int(np.isfinite(self.complexity).any()),
            "category": len(self.category_names),
            "tool_use": int(np.isfinite(self.tool_use).any()),
            "quality": len(self.candidates),
        }
        return {name: size for name, size in sizes.items() if size}

    def has_labels(self, tasks: Iterable[str]) -> bool:
        """Return whether a label of any of these tasks is known."""
        known = {
            "complexity": np.isfinite(self.complexity),
            "category": self.category != UNLABELLED,
            "tool_use": np.isfinite(self.tool_use),
            "quality": np.isfinite(self.quality),
        }
        return any(known[task].any() for task in tasks)


def _known_candidates(dataset: Dataset) -> tuple[str, ...]:
    if dataset.outcomes is None or dataset.outcomes.quality is None or dataset.pool is None:
        return ()
    known = np.flatnonzero(np.isfinite(dataset.outcomes.quality).any(axis=0))
    return tuple(dataset.pool.names[m] for m in known)


def _quality(dataset: Dataset, candidates: Sequence[str]) -> Floats:
    result = np.full((len(dataset), len(candidates)), np.nan)
    if dataset.outcomes is None or dataset.outcomes.quality is None or dataset.pool is None:
        return result
    for column, name in enumerate(candidates):
        if name in dataset.pool.names:
            result[:, column] = dataset.outcomes.quality[:, dataset.pool.index(name)]
    return result


def _mean_difficulty(quality: Floats) -> Floats:
    known = np.isfinite(quality)
    counts = known.sum(axis=1)
    means = np.where(known, quality, 0.0).sum(axis=1) / np.maximum(counts, 1)
    return np.where(counts > 0, 1.0 - means, np.nan)


def _indices(category: NDArray[np.str_] | None, names: Sequence[str], rows: int) -> NDArray[np.int64]:
    if category is None:
        return np.full(rows, UNLABELLED)
    places = {name: place for place, name in enumerate(names)}
    return np.array([places.get(str(name), UNLABELLED) for name in category], dtype=np.int64)
