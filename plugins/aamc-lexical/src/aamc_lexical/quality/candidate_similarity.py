"""The quality of an unseen candidate, from known candidates that are similar to it.

Candidates are compared by the embeddings of their descriptions and the logarithms of their prices. The quality of a nearer candidate
has more weight; the bandwidth is chosen by leaving out each known candidate. The quality of a candidate with few outcomes is a
compromise between its own outcomes and those of similar candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import attrs
import numpy as np

from aamc_lexical.heads.head_weights import softmax
from aamc_sdk.types import Candidate, Floats, lazy_property

BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 1e6)
"""In units of the known candidates' median distance; the maximum weighs all candidates equally."""
MIN_NOISE = 1e-12
MIN_VARIANCE = 0.05**2
"""The minimum variance of a candidate's mean around its prediction from others."""


def log_prices(candidates: Sequence[Candidate]) -> Floats:
    """Return the logarithms of input and output price in USD per million tokens, ``[M, 2]``, NaN where unknown."""
    prices = [c.prices for c in candidates]
    return np.array([(np.nan, np.nan) if p is None else (np.log(p.input + 0.01), np.log(p.output + 0.01)) for p in prices]).reshape(-1, 2)


def encoded_descriptions(candidates: Iterable[Candidate], encode: Callable[[Sequence[str]], Floats]) -> Floats:
    """Return the embedding of each candidate's description, ``[M, W]``; NaN without a description."""
    texts = [candidate.description for candidate in candidates]
    embedding = encode(texts).astype(np.float64)
    embedding[[not text for text in texts]] = np.nan
    return embedding


@attrs.frozen(eq=False, slots=False)
class CandidateSimilarity:
    """The similarity of candidates to the known ones.

    Attributes:
        descriptions: Embedded descriptions of the K known candidates, ``[K, W]``; NaN without a description.
        prices: Their log prices, ``[K, 2]``.
        own_share: The weight of each candidate's own outcomes, ``[K]``; the rest belongs to similar candidates.
        bandwidth: One of ``BANDWIDTHS``.
    """

    descriptions: Floats
    prices: Floats
    own_share: Floats
    bandwidth: float = 1.0

    @classmethod
    def fit(cls, descriptions: Floats, prices: Floats, predictions: Floats, quality: Floats) -> CandidateSimilarity:
        """Choose the bandwidth that predicts each known candidate best from the others, and the weights of own outcomes.

        Descriptions are ``[K, W]``, prices ``[K, 2]``, out-of-fold predictions and outcomes ``[N, K]``.
        """
        options = [cls(descriptions, prices, np.ones(len(descriptions)), bandwidth) for bandwidth in BANDWIDTHS]
        if len(descriptions) < 3:  # near and far need two other candidates
            return options[-1]
        best = min(options, key=lambda option: float(np.nanmean(option._left_out_errors(predictions, quality) ** 2)))
        errors = best._left_out_errors(predictions, quality)
        return attrs.evolve(best, own_share=own_shares(errors, float(np.nanmean((predictions - quality) ** 2))))

    def weights(self, descriptions: Floats, prices: Floats) -> Floats:
        """Return the weight of each known candidate for each of M unseen ones, ``[M, K]``; rows sum to one."""
        return softmax(-self._distances(descriptions, prices) / self.bandwidth)

    @lazy_property
    def known_weights(self) -> Floats:
        """The weight of each known candidate's outcomes for each known candidate, ``[K, K]``; rows sum to one."""
        if (self.own_share == 1).all():
            return np.eye(len(self.own_share))
        return np.diag(self.own_share) + (1 - self.own_share)[:, None] * self._others()

    def _others(self) -> Floats:
        """Return the weight of each known candidate for each other one, ``[K, K]``, with a zero diagonal."""
        affinity = -self._distances(self.descriptions, self.prices) / self.bandwidth
        np.fill_diagonal(affinity, -np.inf)
        return softmax(affinity)

    def _left_out_errors(self, predictions: Floats, quality: Floats) -> Floats:
        """Return the differences between outcomes and their predictions from other candidates, ``[N, K]``."""
        return np.asarray(quality - predictions @ self._others().T)

    def _distances(self, descriptions: Floats, prices: Floats) -> Floats:
        """Return squared distances ``[M, K]`` in units of the known candidates' median, which also stands for unknown distances."""
        total = np.zeros((len(descriptions), len(self.descriptions)))
        for new, known in ((descriptions, self.descriptions), (prices, self.prices)):
            unit = np.nanmedian(_off_diagonal(_squared(known, known))) if np.isfinite(known).any() else 1.0
            scaled = _squared(new, known) / (unit if unit > 0 else 1.0)
            total += np.where(np.isfinite(scaled), scaled, 1.0)
        return total


def own_shares(errors: Floats, noise: float) -> Floats:
    r"""Return the weight of K candidates' own outcomes against their predictions from other candidates, ``[K]``.

    With :math:`\tau^2` the variance of a candidate's mean around its prediction and :math:`\sigma^2 / n` that of the mean of n outcomes, the
    best estimate gives the outcomes weight :math:`n / (n + \sigma^2 / \tau^2)` (Efron & Morris 1973, "Stein's Estimation Rule and its
    Competitors"). :math:`\tau^2` is estimated by the method of moments.

    Args:
        errors: Differences between outcomes and their predictions from other candidates, ``[N, K]``, NaN where unknown.
        noise: :math:`\sigma^2`, the variance of an outcome around its expectation.
    """
    counts = np.isfinite(errors).sum(axis=0)
    means = np.nansum(errors, axis=0) / np.maximum(counts, 1)
    variance = max(float((counts * means**2 - noise).sum() / max(counts.sum(), 1)), MIN_VARIANCE)
    return np.asarray(counts / (counts + max(noise, MIN_NOISE) / variance))


def _squared(left: Floats, right: Floats) -> Floats:
    return np.asarray(((left[:, None, :] - right[None, :, :]) ** 2).sum(axis=2))


def _off_diagonal(square: Floats) -> Floats:
    values = square[~np.eye(len(square), dtype=bool)]
    return values if np.isfinite(values).any() else np.ones(1)
