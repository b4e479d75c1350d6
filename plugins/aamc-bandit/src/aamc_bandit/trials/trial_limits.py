"""Limits of a canary: its calls are compared with those of the stable router, and a challenger beyond a limit ends the trial.

A limit is exceeded when the mean over the challenger's calls is above it by more than three standard errors,

    m_c - ratio * m_s - excess > 3 sqrt(v_c / n_c + ratio^2 v_s / n_s),

so that a few unlucky calls end nothing. For the rate of failed calls the ratio is 1, for cost and latency the excess is 0.

With a share near 1 the stable router has few calls or none. While it has fewer than ``MIN_CALLS``, its rate of failed calls counts as 0, and
each of its means is that of the calls it would have made in place of the challenger's. For a call of model c with cost (or latency) y,

    s = p_s(c) y + sum over a != c of p_s(a) E(a),

where p_s are the stable router's choice probabilities and E the expected cost (or latency) when the decision was made: the stable router's
call of the same model would have cost the same, so that wrong expectations end no trial of routers that choose alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import attrs

from aamc_sdk.types import Attempt

STANDARD_ERRORS = 3.0
MIN_CALLS = 20
"""Calls of each router below which nothing is compared."""


@attrs.define
class RunningMean:
    """Mean and variance of values that come one by one (Welford's method).

    Attributes:
        n: The number of values.
        mean: Their mean.
        squares: The sum of squared deviations from the mean.
    """

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        """Add a value."""
        self.n += 1
        deviation = value - self.mean
        self.mean += deviation / self.n
        self.squares += deviation * (value - self.mean)

    @property
    def error_variance(self) -> float:
        """The variance of the mean."""
        return self.squares / (self.n - 1) / self.n


NEVER_FAILED = RunningMean(n=MIN_CALLS)
"""The reference for failures while the stable router has too few calls, as with a share near 1."""
REASONS = {
    "errors": ("{:.1%} of its calls failed, and {:.1%} of the stable router's", "{:.1%} of its calls failed"),
    "cost_usd": (
        "its calls cost {:.3g} USD on average, and the stable router's {:.3g}",
        "its calls cost {:.3g} USD on average, and the stable router's were expected to cost {:.3g}",
    ),
    "latency_ms": (
        "its calls took {:.4g} ms on average, and the stable router's {:.4g}",
        "its calls took {:.4g} ms on average, and the stable router's were expected to take {:.4g}",
    ),
}
"""The reasons for ending a trial: with enough calls of the stable router, and with too few."""


class CallComparison:
    """Failed calls, cost and latency of two routers' calls."""

    def __init__(self, kept: Mapping[str, tuple[int, float, float]] | None = None) -> None:
        self._means = {name: RunningMean(*values) for name, values in (kept or {}).items()}

    def add(self, role: str, call: Attempt, stable: Mapping[str, Any]) -> None:
        """Add a call that was made for a router's decision; a cancelled or refused one says nothing about the router.

        A challenger's call also adds the cost and latency that the stable router would have had in its place. ``stable`` has its
        ``probabilities`` by model, and the ``expected`` figures of these models, as a decision notes them.
        """
        if call.status not in ("ok", "error"):
            return
        self._add(f"{role}/errors", float(call.status == "error"))
        self._add(f"{role}/cost_usd", call.cost_usd)
        self._add(f"{role}/latency_ms", call.latency_ms)
        for figure, expected in stable.get("expected", {}).items() if role == "candidate" else ():
            own = getattr(call, figure)
            known = {**expected, call.candidate: own}
            mean = sum(p * known.get(name, math.nan) for name, p in stable["probabilities"].items())
            self._add(f"expected/{figure}", math.nan if math.isnan(own) else mean)

    def exceeded(self, max_error_excess: float, max_cost_ratio: float, max_latency_ratio: float) -> str | None:
        """Return the limit of a canary's options that the challenger exceeds, in words; None for none."""
        for figure, ratio, excess in (("errors", 1.0, max_error_excess), ("cost_usd", max_cost_ratio, 0.0), ("latency_ms", max_latency_ratio, 0.0)):
            stable, challenger, expected = (self._means.get(f"{role}/{figure}", RunningMean()) for role in ("stable", "candidate", "expected"))
            measured = stable.n >= MIN_CALLS
            if not measured:
                stable = NEVER_FAILED if figure == "errors" else expected
            if min(stable.n, challenger.n) < MIN_CALLS or ratio * stable.mean + excess == 0:  # nothing is a multiple of a free call
                continue
            uncertainty = math.sqrt(challenger.error_variance + ratio**2 * stable.error_variance)
            if challenger.mean - ratio * stable.mean - excess > STANDARD_ERRORS * uncertainty:
                return REASONS[figure][not measured].format(challenger.mean, stable.mean)
        return None

    def to_dict(self) -> dict[str, tuple[int, float, float]]:
        """Return the content that the constructor takes, in JSON's types."""
        return {name: attrs.astuple(mean) for name, mean in self._means.items()}

    def _add(self, name: str, value: float) -> None:
        if not math.isnan(value):
            self._means.setdefault(name, RunningMean()).add(value)
