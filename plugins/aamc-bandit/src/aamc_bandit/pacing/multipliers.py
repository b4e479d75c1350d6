"""The multipliers: the prices at which a router's choices keep their limits.

A candidate a of a request has the wrapped router's utility U(a) and probability p(a), and uses r_k(a) of limit k. At the price
c(a) = sum_k lambda_k r_k(a), a draw b of the wrapped router stays, or is exchanged for the best candidate at these prices:

    a(b) = b           if max U - c(b) >= max_a (U(a) - c(a)), else argmax_a (U(a) - c(a))                            (1)
    q(a) = sum_b p(b) [a(b) = a]                                                                                     (2)

A draw counts as the wrapped router's best candidate, so it is given the maximum utility. At prices of 0, q = p. A router that does not sample has
p = 1 for its maximum utility, and (1) is the argmax of utility minus price: the dual of the linear program that maximises utility under the
limits. A router without utilities (all equal, such as ``random``) keeps its draws or gives the cheapest candidate.

The mean use at the prices of a grid, over a window of recent requests, falls with the price. The two levels of the grid around the target are
mixed so that the mean use is the target:

    sum_j w_j mean q_j r = target,  w on the levels with C_j > target >= C_{j+1}                                      (3)

That is the re-solved dual of Jasin and Kumar (2012), "A Re-Solving Heuristic with Bounded Revenue Loss for Network Revenue Management", and of
Agrawal, Wang and Ye (2014), "A Dynamic Near-Optimal Algorithm for Online Linear Programming", Operations Research 62(4).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.types import Floats

LEVELS = 32
"""Number of prices between 0 and the price at which every request takes the candidate that uses least."""
ROUNDS = 3
"""Number of times that the prices of several limits are computed in turn."""
MAX_PAIRS = 4_000_000
"""Maximum number of exchanges in a window from which a grid of prices is made: 512 requests among 500 candidates have 128 million, and took 5 GB."""


@attrs.frozen(eq=False)
class WrappedChoices:
    """The choices of a wrapped router for B requests among M candidates.

    Attributes:
        utility: Its utilities, ``[B, M]``.
        probabilities: Its choice probabilities, ``[B, M]``.
        mask: Whether a candidate may be chosen, ``[B, M]``, at least one a row.
    """

    utility: Floats
    probabilities: Floats
    mask: NDArray[np.bool_]

    def at(self, price: Floats) -> Floats:
        """Return the choice probabilities (2) at prices ``[B, M]``."""
        rows = np.arange(len(price))
        top = np.where(self.mask, self.utility, -np.inf).max(axis=1, keepdims=True)
        net = np.where(self.mask, self.utility - price, -np.inf)
        best = net.argmax(axis=1)
        kept = self.mask & (top - price >= net[rows, best, None])
        result = np.where(kept, self.probabilities, 0.0)
        result[rows, best] += np.where(kept, 0.0, self.probabilities).sum(axis=1)
        return result

    def critical_prices(self, use: Floats) -> Floats:
        """Return the prices of one limit at which (1) exchanges a candidate for one that uses less of it, ``use`` ``[B, M]``.

        If there are more than ``MAX_PAIRS``, each candidate is exchanged only for some, evenly spaced by their use, with the one that uses least.
        """
        masked = np.where(self.mask, self.utility, -np.inf)
        wanted = np.where(self.probabilities > 0, masked.max(axis=1, keepdims=True), masked)
        candidates = use.shape[1]
        ranks = np.linspace(0, candidates - 1, min(candidates, max(1, MAX_PAIRS // use.size))).astype(np.intp)
        less = np.where(self.mask, use, np.inf).argsort(axis=1)[:, ranks]
        with np.errstate(invalid="ignore"):
            gain = wanted[:, :, None] - np.take_along_axis(masked, less, axis=1)[:, None, :]
            more = use[:, :, None] - np.take_along_axis(use, less, axis=1)[:, None, :]
        found = np.isfinite(gain) & (gain > 0) & (more > 0)
        prices = gain[found] / more[found]
        return np.asarray(prices[np.isfinite(prices)])


@attrs.frozen(eq=False)
class PriceCurve:
    """The mean use of a limit at each price of a grid.

    Attributes:
        prices: The prices, ascending from 0, ``[J]``.
        use: The mean use at each, descending, ``[J]``.
    """

    prices: Floats
    use: Floats

    @classmethod
    def of(cls, choices: WrappedChoices, use: Floats, other: Floats) -> PriceCurve:
        """Return the curve of a window's requests, at the prices ``[B, M]`` of the other limits."""
        net = attrs.evolve(choices, utility=choices.utility - other)
        critical = net.critical_prices(use)
        if critical.size:
            inner = np.unique(np.quantile(critical, np.linspace(0.0, 1.0, LEVELS)))
            prices = np.concatenate(([0.0], inner, [2.0 * inner[-1]]))
        else:
            prices = np.array([0.0, 1.0])  # utilities without differences: any price will do
        means = [(choices.at(other + price * use) * use).sum(axis=1).mean() for price in prices]
        return cls(prices, np.minimum.accumulate(means))

    def mixture(self, target: float) -> tuple[float, float, float]:
        """Return the lower and the upper price, and the weight of the lower one, at which the mean use is a target (3)."""
        if self.use[0] <= target:
            return 0.0, 0.0, 1.0
        if self.use[-1] >= target:
            return float(self.prices[-1]), float(self.prices[-1]), 1.0
        upper = int(np.argmax(self.use <= target))
        above, below = self.use[upper - 1], self.use[upper]
        return float(self.prices[upper - 1]), float(self.prices[upper]), float((target - below) / (above - below))

    def mean_price(self, target: float) -> float:
        """Return the mean price of :meth:`mixture`."""
        lower, upper, weight = self.mixture(target)
        return weight * lower + (1 - weight) * upper


def curves_of(choices: WrappedChoices, uses: Sequence[Floats], targets: Sequence[float]) -> list[PriceCurve]:
    """Return the curve of each limit, at the prices at which the others keep their targets."""
    curves = [PriceCurve(np.zeros(1), np.zeros(1)) for _ in uses]
    prices = [0.0 for _ in uses]
    for _ in range(ROUNDS if len(uses) > 1 else 1):
        for k, use in enumerate(uses):
            other = sum((prices[j] * uses[j] for j in range(len(uses)) if j != k), np.zeros_like(use))
            curves[k] = PriceCurve.of(choices, use, other)
            prices[k] = curves[k].mean_price(targets[k])
    return curves


def mixed_choices(choices: WrappedChoices, uses: Sequence[Floats], mixtures: Floats) -> tuple[Floats, Floats]:
    """Return the mean prices ``[K, B]`` and the choice probabilities ``[B, M]`` of K limits.

    ``uses`` are ``[B, M]`` for each limit, and ``mixtures`` the lower and the upper price with the weight of the lower one, ``[K, B, 3]``.
    """
    shape = choices.utility.shape
    total, mean = np.zeros(shape), mixtures[..., 0] * mixtures[..., 2] + mixtures[..., 1] * (1 - mixtures[..., 2])
    for levels in itertools.product((0, 1), repeat=len(uses)):
        weight, price = np.ones(len(mixtures[0])), np.zeros(shape)
        for k, level in enumerate(levels):
            weight = weight * (mixtures[k, :, 2] if level == 0 else 1 - mixtures[k, :, 2])
            price = price + mixtures[k, :, level, None] * uses[k]
        if weight.any():
            total += weight[:, None] * choices.at(price)
    return mean, total
