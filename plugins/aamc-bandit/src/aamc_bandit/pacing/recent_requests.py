"""Recent requests, from which the multipliers are computed, and the notes that decisions keep of them."""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from aamc_bandit.inner_router import by_name
from aamc_bandit.pacing.multipliers import PriceCurve, WrappedChoices, curves_of
from aamc_bandit.pacing.resources import LimitedResource
from aamc_sdk.types import Floats

BLOCKS = 8
"""The multipliers are computed again when an eighth of the window is new."""
OWN = 16
"""Requests of a tenant in the window from which its own curves are computed; the curves of all tenants are those of one with fewer."""
Note = Mapping[str, Any]
"""``utilities`` by candidate, ``wrapped`` (the choice probabilities above 0), and ``limits``: by name ``multiplier``, ``target``, and by candidate
``expected`` (figures such as a latency) and ``use`` (the charge of a decision for it). In the window also ``tenant``, except for training rows."""


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
        self._rows: list[Note] = []
        self._waiting: list[Note] = []
        self._curves: dict[str, list[PriceCurve]] = {}
        self.planned = copy.deepcopy(resources)

    def add(self, note: Note) -> None:
        """Add a request."""
        self._waiting.append(note)
        if len(self._waiting) >= max(1, len(self._rows) // BLOCKS):
            self._rows = [*self._rows, *self._waiting][-self._size :]
            self._waiting = []
            self.planned = copy.deepcopy(self._resources)
            self._curves = {}

    def to_dict(self) -> dict[str, Any]:
        """Return the state in JSON's types."""
        learned = {resource.name: resource.learned for resource in self.planned}
        return {"rows": self._rows, "waiting": self._waiting, "learned": learned}

    def set(self, saved: Mapping[str, Any]) -> None:
        """Continue from a state of :meth:`to_dict`."""
        self._rows, self._waiting = list(saved["rows"]), list(saved["waiting"])
        self.plan(saved["learned"])

    def plan(self, learned: Mapping[str, Any]) -> None:
        """Compute the curves with the learned corrections of the candidates' use, by resource."""
        self.planned = copy.deepcopy(self._resources)
        for resource in self.planned:
            resource.learned = copy.deepcopy(learned.get(resource.name, {}))
        self._curves = {}

    def drop_names(self, tenants: Collection[str]) -> None:
        """Forget which requests were those of some tenants."""
        for rows in (self._rows, self._waiting):
            rows[:] = [{**row, "tenant": ""} if row.get("tenant") in tenants else row for row in rows]
        self._curves = {}

    def curves(self, tenant: str = "") -> list[PriceCurve]:
        """Return the curve of each limit for a tenant's requests; none before the first request of any."""
        if tenant not in self._curves:
            rows = [row for row in self._rows if row.get("tenant") == tenant] if tenant else self._rows
            is_common = tenant and len(rows) < OWN
            self._curves[tenant] = self.curves() if is_common else curves_of(*self.arrays(rows)) if rows else []
        return self._curves[tenant]

    def arrays(self, rows: Sequence[Note] | None = None) -> tuple[WrappedChoices, list[Floats], list[float]]:
        """Return the choices of W requests (default: the window's), and for each limit the uses ``[W, M]`` and the mean target.

        M candidates are those that occur.
        """
        rows = self._rows if rows is None else rows
        names = list(dict.fromkeys(name for row in rows for name in row["utilities"]))
        column = {name: m for m, name in enumerate(names)}
        shape = len(rows), len(names)
        utility, probabilities, mask = np.zeros(shape), np.zeros(shape), np.zeros(shape, dtype=bool)
        figures = np.full((len(self._resources), *shape), np.nan)
        for w, row in enumerate(rows):
            columns = [column[name] for name in row["utilities"]]
            mask[w, columns], utility[w, columns] = True, list(row["utilities"].values())
            probabilities[w, columns] = [row["wrapped"].get(name, 0.0) for name in row["utilities"]]
            for k, resource in enumerate(self._resources):
                figures[k, w, columns] = [noted(row, resource.name, "expected", name) for name in row["utilities"]]
        uses = [without_unknown(resource.use(figures[k], names), mask) for k, resource in enumerate(self.planned)]
        targets = [float(np.mean([row["limits"][resource.name]["target"] for row in rows])) for resource in self._resources]
        return WrappedChoices(utility, probabilities, mask), uses, targets


def without_unknown(use: Floats, mask: Any) -> Floats:
    """Return uses ``[B, M]`` with the maximum of the row's allowed candidates in place of unknown ones; 0 if none is known."""
    known = np.where(mask & ~np.isnan(use), use, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
    return np.where(np.isnan(use), np.where(np.isfinite(known), known, 0.0), use)


def decision_notes(
    names: Sequence[str],
    choices: WrappedChoices,
    resources: Sequence[LimitedResource],
    figures: Sequence[Floats],
    uses: Sequence[Floats],
    prices: Floats,
    targets: Floats,
) -> list[dict[str, Any]]:
    """Return the notes of B decisions among M candidates under K limits.

    Expected figures and use are ``[B, M]`` for each limit, mean prices and targets ``[K, B]``.
    """
    notes = []
    for row in range(len(choices.utility)):
        mask, wrapped = choices.mask[row], choices.probabilities[row]
        limits = {
            resource.name: {
                "multiplier": float(prices[k, row]),
                "target": float(targets[k, row]),
                "expected": by_name(names, figures[k][row], mask & np.isfinite(figures[k][row])),
                "use": by_name(names, uses[k][row], mask & np.isfinite(uses[k][row])),
            }
            for k, resource in enumerate(resources)
        }
        utilities = by_name(names, choices.utility[row], mask)
        notes.append({"utilities": utilities, "wrapped": by_name(names, wrapped, mask & (wrapped > 0)), "limits": limits})
    return notes


def noted(note: Note | None, limit: str, figure: str, candidate: str) -> float:
    """Return an expected ``figure`` of a candidate, ``"expected"`` or ``"use"``; NaN if it is unknown."""
    known = {} if note is None else note["limits"].get(limit, {})
    return float(known.get(figure, {}).get(candidate, math.nan))
