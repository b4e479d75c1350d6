"""The quality of a candidate that was not in the training pool, from those that were and resemble it.

Candidates are compared by the embedding of their descriptions and by the logarithms of their prices. The nearer a known
candidate, the more its quality counts; how much more is chosen by leaving out each known candidate in turn.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from aamc_sdk.batch import Floats
from aamc_sdk.types import Candidate, ModelSpec

BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 1e6)
"""In units of the known candidates' median distance; the greatest counts all alike."""


def log_prices(candidates: Sequence[Candidate]) -> Floats:
    """Return the logarithms of input and output price in USD per million tokens, ``[M, 2]``, NaN where unknown."""
    prices = [c.prices if isinstance(c, ModelSpec) else None for c in candidates]
    return np.array([(np.nan, np.nan) if p is None else (np.log(p.input + 0.01), np.log(p.output + 0.01)) for p in prices]).reshape(-1, 2)


@attrs.frozen(eq=False)
class Resemblance:
    """How candidates resemble the known ones.

    Attributes:
        descriptions: Of the K known candidates, embedded, ``[K, W]``; NaN without a description.
        prices: Their log prices, ``[K, 2]``.
        bandwidth: One of ``BANDWIDTHS``.
    """

    descriptions: Floats
    prices: Floats
    bandwidth: float = 1.0

    @classmethod
    def fit(cls, descriptions: Floats, prices: Floats, predictions: Floats, quality: Floats) -> Resemblance:
        """Choose the bandwidth that predicts each known candidate best from the others.

        Args:
            descriptions: ``[K, W]``.
            prices: ``[K, 2]``.
            predictions: Of each known candidate, out of fold, ``[N, K]``.
            quality: What came of it, ``[N, K]``.
        """
        options = [cls(descriptions, prices, bandwidth) for bandwidth in BANDWIDTHS]
        if len(descriptions) < 3:  # two others are needed to tell near from far
            return options[-1]
        return min(options, key=lambda option: option._left_out_error(predictions, quality))

    def weights(self, descriptions: Floats, prices: Floats) -> Floats:
        """Return how much each known candidate counts for each of M new ones, ``[M, K]``, rows sum to one."""
        return _normalised(-self._distances(descriptions, prices) / self.bandwidth)

    def _left_out_error(self, predictions: Floats, quality: Floats) -> float:
        affinity = -self._distances(self.descriptions, self.prices) / self.bandwidth
        np.fill_diagonal(affinity, -np.inf)
        return float(np.nanmean((predictions @ _normalised(affinity).T - quality) ** 2))

    def _distances(self, descriptions: Floats, prices: Floats) -> Floats:
        """Return squared distances ``[M, K]``; each view in units of the known candidates' median, unknown ones counting as that."""
        total = np.zeros((len(descriptions), len(self.descriptions)))
        for new, known in ((descriptions, self.descriptions), (prices, self.prices)):
            unit = np.nanmedian(_off_diagonal(_squared(known, known))) if np.isfinite(known).any() else 1.0
            scaled = _squared(new, known) / (unit if unit > 0 else 1.0)
            total += np.where(np.isfinite(scaled), scaled, 1.0)
        return total


def _squared(left: Floats, right: Floats) -> Floats:
    return np.asarray(((left[:, None, :] - right[None, :, :]) ** 2).sum(axis=2))


def _off_diagonal(square: Floats) -> Floats:
    values = square[~np.eye(len(square), dtype=bool)]
    return values if np.isfinite(values).any() else np.ones(1)


def _normalised(logits: Floats) -> Floats:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
