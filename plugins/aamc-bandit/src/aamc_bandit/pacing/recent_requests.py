"""Recent requests of all tenants, from which the multipliers are computed."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aamc_bandit.pacing.multipliers import PriceCurve, WrappedChoices, curves_of
from aamc_bandit.pacing.resources import LimitedResource
from aamc_sdk.types import Floats

BLOCKS = 8
"""The multipliers are computed again when an eighth of the window is new."""
Row = Mapping[str, Any]
"""A request: ``names`` of its M allowed candidates, their ``utilities`` and choice ``probabilities`` ``[M]``, and for each limit under ``limits`` the
expected ``figures`` ``[M]`` and the ``target``."""


class RecentRequests:
    """The window of recent requests, and the curves that follow from it.

    New requests enter in blocks, together with the candidates' learned corrections, so that the curves are a function of the saved state.

    Args:
        size: Number of requests in the window.
        resources: The resources, in the order of the curves.

    Attributes:
        planned: The resources with the candidates' learned corrections at the time of the last block.
    """

    def __init__(self, size: int, resources: Sequence[LimitedResource]) -> None:
        self._size, self._resources = size, resources
        self._rows: list[Row] = []
        self._waiting: list[Row] = []
        self._curves: list[PriceCurve] | None = None
        self.planned = copy.deepcopy(resources)

    def add(self, row: Row) -> None:
        """Add a request."""
        self._waiting.append(row)
        if len(self._waiting) >= max(1, len(self._rows) // BLOCKS):
            self._rows = [*self._rows, *self._waiting][-self._size :]
            self._waiting = []
            self.planned = copy.deepcopy(self._resources)
            self._curves = None

    def plain(self) -> dict[str, Any]:
        """Return the state in JSON's types."""
        learned = {resource.name: resource.learned for resource in self.planned}
        return {"rows": self._rows, "waiting": self._waiting, "learned": learned}

    def set(self, saved: Mapping[str, Any]) -> None:
        """Continue from a state of :meth:`plain`."""
        self._rows, self._waiting = list(saved["rows"]), list(saved["waiting"])
        self.plan(saved["learned"])

    def plan(self, learned: Mapping[str, Any]) -> None:
        """Compute the curves with the learned corrections of the candidates' use, by resource."""
        self.planned = copy.deepcopy(self._resources)
        for resource in self.planned:
            resource.learned = copy.deepcopy(learned.get(resource.name, {}))
        self._curves = None

    def curves(self) -> list[PriceCurve]:
        """Return the curve of each limit; none before the first request."""
        if self._curves is None:
            self._curves = curves_of(*self.arrays()) if self._rows else []
        return self._curves

    def arrays(self) -> tuple[WrappedChoices, list[Floats], list[float]]:
        """Return the window's choices, and for each limit the uses ``[W, M]`` and the mean target, among all candidates that occur."""
        names = list(dict.fromkeys(name for row in self._rows for name in row["names"]))
        column = {name: m for m, name in enumerate(names)}
        shape = len(self._rows), len(names)
        utility, probabilities, mask = np.zeros(shape), np.zeros(shape), np.zeros(shape, dtype=bool)
        figures = np.full((len(self._resources), *shape), np.nan)
        for w, row in enumerate(self._rows):
            columns = [column[name] for name in row["names"]]
            mask[w, columns] = True
            utility[w, columns], probabilities[w, columns] = row["utilities"], row["probabilities"]
            for k, resource in enumerate(self._resources):
                figures[k, w, columns] = [np.nan if figure is None else figure for figure in row["limits"][resource.name]["figures"]]
        uses = [without_unknown(resource.use(figures[k], names), mask) for k, resource in enumerate(self.planned)]
        targets = [float(np.mean([row["limits"][resource.name]["target"] for row in self._rows])) for resource in self._resources]
        return WrappedChoices(utility, probabilities, mask), uses, targets


def without_unknown(use: Floats, mask: Any) -> Floats:
    """Return uses ``[B, M]`` with the row's maximum in place of unknown ones; 0 in a row without any."""
    known = np.where(mask & ~np.isnan(use), use, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
    return np.where(np.isnan(use), np.where(np.isfinite(known), known, 0.0), use)
