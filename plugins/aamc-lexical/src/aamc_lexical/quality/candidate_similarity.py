"""The quality of a candidate that was not in the training pool, from those that were and resemble it.

Candidates are compared by the embedding of their descriptions and by the logarithms of their prices. The nearer a known
candidate, the more its quality counts; how much more is chosen by leaving out each known candidate in turn. A candidate
with few outcomes is taken for what they say in part, and in part for what those do that it resembles.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import attrs
import numpy as np

from aamc_sdk.batch import Floats
from aamc_sdk.types import Candidate, ModelSpec

BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 1e6)
"""In units of the known candidates' median distance; the greatest counts all alike."""
MIN_NOISE = 1e-12
MIN_VARIANCE = 0.05**2
"""Candidates are never taken to differ by less, in mean square, from what others make expect of them."""


def log_prices(candidates: Sequence[Candidate]) -> Floats:
    """Return the logarithms of input and output price in USD per million tokens, ``[M, 2]``, NaN where unknown."""
    prices = [c.prices if isinstance(c, ModelSpec) else None for c in candidates]
    return np.array([(np.nan, np.nan) if p is None else (np.log(p.input + 0.01), np.log(p.output + 0.01)) for p in prices]).reshape(-1, 2)


@attrs.frozen(eq=False, slots=False)
class CandidateSimilarity:
    """How candidates resemble the known ones.

    Attributes:
        descriptions: Of the K known candidates, embedded, ``[K, W]``; NaN without a description.
        prices: Their log prices, ``[K, 2]``.
        own_share: How much each counts as what its own outcomes say, and not as what those do that it resembles, ``[K]``.
        bandwidth: One of ``BANDWIDTHS``.
    """

    descriptions: Floats
    prices: Floats
    own_share: Floats
    bandwidth: float = 1.0

    @classmethod
    def fit(cls, descriptions: Floats, prices: Floats, predictions: Floats, quality: Floats) -> CandidateSimilarity:
        """Choose the bandwidth that predicts each known candidate best from the others, and what that is worth beside outcomes.

        Args:
            descriptions: ``[K, W]``.
            prices: ``[K, 2]``.
            predictions: Of each known candidate, out of fold, ``[N, K]``.
            quality: What came of it, ``[N, K]``.
        """
        options = [cls(descriptions, prices, np.ones(len(descriptions)), bandwidth) for bandwidth in BANDWIDTHS]
        if len(descriptions) < 3:  # two others are needed to tell near from far
            return options[-1]
        best = min(options, key=lambda option: float(np.nanmean(option._left_out_errors(predictions, quality) ** 2)))
        errors = best._left_out_errors(predictions, quality)
        return attrs.evolve(best, own_share=own_shares(errors, float(np.nanmean((predictions - quality) ** 2))))

    def weights(self, descriptions: Floats, prices: Floats) -> Floats:
        """Return how much each known candidate counts for each of M new ones, ``[M, K]``, rows sum to one."""
        return _normalised(-self._distances(descriptions, prices) / self.bandwidth)

    @cached_property
    def known_weights(self) -> Floats:
        """How much each known candidate's outcomes count for each known one, ``[K, K]``; rows sum to one."""
        if (self.own_share == 1).all():
            return np.eye(len(self.own_share))
        return np.diag(self.own_share) + (1 - self.own_share)[:, None] * self._others()

    def _others(self) -> Floats:
        """Return how much each known candidate counts for another, ``[K, K]``, and nothing for itself."""
        affinity = -self._distances(self.descriptions, self.prices) / self.bandwidth
        np.fill_diagonal(affinity, -np.inf)
        return _normalised(affinity)

    def _left_out_errors(self, predictions: Floats, quality: Floats) -> Floats:
        """Return by how much each outcome differs from what the other candidates make expect, ``[N, K]``."""
        return np.asarray(quality - predictions @ self._others().T)

    def _distances(self, descriptions: Floats, prices: Floats) -> Floats:
        """Return squared distances ``[M, K]``; each view in units of the known candidates' median, unknown ones counting as that."""
        total = np.zeros((len(descriptions), len(self.descriptions)))
        for new, known in ((descriptions, self.descriptions), (prices, self.prices)):
            unit = np.nanmedian(_off_diagonal(_squared(known, known))) if np.isfinite(known).any() else 1.0
            scaled = _squared(new, known) / (unit if unit > 0 else 1.0)
            total += np.where(np.isfinite(scaled), scaled, 1.0)
        return total


def own_shares(errors: Floats, noise: float) -> Floats:
    r"""Return how much K candidates' own outcomes count beside what others make expect of them, ``[K]``.

    A candidate's mean differs from what is expected of it by :math:`\tau^2` in the mean square, and the mean of n outcomes from
    it by :math:`\sigma^2 / n`. The best estimate from both weighs the outcomes by :math:`n / (n + \sigma^2 / \tau^2)` (Efron & Morris
    1973, "Stein's Estimation Rule and its Competitors"); :math:`\tau^2` follows from the candidates by the method of moments.

    Args:
        errors: By how much each outcome differs from what others make expect, ``[N, K]``, NaN where unknown.
        noise: :math:`\sigma^2`, the mean square of an outcome's difference from its own expectation.
    """
    counts = np.isfinite(errors).sum(axis=0)
    means = np.nansum(errors, axis=0) / np.maximum(counts, 1)
    spread = max(float((counts * means**2 - noise).sum() / max(counts.sum(), 1)), MIN_VARIANCE)
    return np.asarray(counts / (counts + max(noise, MIN_NOISE) / spread))


def _squared(left: Floats, right: Floats) -> Floats:
    return np.asarray(((left[:, None, :] - right[None, :, :]) ** 2).sum(axis=2))


def _off_diagonal(square: Floats) -> Floats:
    values = square[~np.eye(len(square), dtype=bool)]
    return values if np.isfinite(values).any() else np.ones(1)


def _normalised(logits: Floats) -> Floats:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
