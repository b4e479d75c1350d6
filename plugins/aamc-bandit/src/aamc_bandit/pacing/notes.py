"""The note of a decision, from which ``paced`` learns it: the wrapped router's choice, and each limit's price, target and expected use."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aamc_bandit.pacing.multipliers import WrappedChoices
from aamc_bandit.pacing.recent_requests import Row
from aamc_bandit.pacing.resources import LimitedResource
from aamc_sdk.types import Floats

Note = Mapping[str, Any]
"""``utilities`` by candidate, ``wrapped`` (the choice probabilities above 0), and ``limits``: by name ``multiplier``, ``target``, and by candidate
``expected`` (figures such as a latency) and ``use`` (the charge of a decision for it)."""


def decision_notes(
    names: Sequence[str],
    choices: WrappedChoices,
    resources: Sequence[LimitedResource],
    figures: Sequence[Floats],
    uses: Sequence[Floats],
    prices: Floats,
    targets: Floats,
) -> list[dict[str, Any]]:
    """Return the note of each of B decisions.

    Args:
        names: The names of M candidates.
        choices: The wrapped router's choices.
        resources: The resources of K limits.
        figures: The expected figures of each, ``[B, M]``.
        uses: The expected use of each, ``[B, M]``.
        prices: The mean price of each, ``[K, B]``.
        targets: The target of each, ``[K, B]``.
    """
    notes = []
    for row in range(len(choices.utility)):
        columns = [(name, m) for m, name in enumerate(names) if choices.mask[row, m]]
        limits = {
            resource.name: {
                "multiplier": float(prices[k, row]),
                "target": float(targets[k, row]),
                "expected": _known(figures[k][row], columns),
                "use": _known(uses[k][row], columns),
            }
            for k, resource in enumerate(resources)
        }
        wrapped = {name: float(choices.probabilities[row, m]) for name, m in columns if choices.probabilities[row, m] > 0}
        notes.append({"utilities": {name: float(choices.utility[row, m]) for name, m in columns}, "wrapped": wrapped, "limits": limits})
    return notes


def row_of(note: Note) -> Row:
    """Return the request of a decision's note."""
    names = list(note["utilities"])
    limits = {
        limit: {"figures": [known["expected"].get(name) for name in names], "target": known["target"]} for limit, known in note["limits"].items()
    }
    return {
        "names": names,
        "utilities": list(note["utilities"].values()),
        "probabilities": [note["wrapped"].get(name, 0.0) for name in names],
        "limits": limits,
    }


def noted(note: Note | None, limit: str, figure: str, candidate: str) -> float:
    """Return an expected ``figure`` of a candidate, ``"expected"`` or ``"use"``; NaN if it is unknown."""
    return math.nan if note is None else float(note["limits"][limit][figure].get(candidate, math.nan))


def _known(values: Floats, columns: Sequence[tuple[str, int]]) -> dict[str, float]:
    return {name: float(values[m]) for name, m in columns if np.isfinite(values[m])}
