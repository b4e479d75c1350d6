"""Prior means for candidates with few outcomes, from the outcomes of similar candidates.

    similarity(m, k) = exp(-(|log price_m - log price_k|^2 + |words_m - words_k|^2) / 2)                              (1)
    prior_m = (Lambda + sum over k != m of s_mk A_k)^-1 sum over k != m of s_mk b_k,                                  (2)
    s_mk = similarity(m, k) min(1, c / n_k)

Words are those of the description, hashed to a vector of length one (:func:`aamc_sdk.routing.encode_candidates`). A_k and b_k
are candidate k's sufficient statistics (:mod:`aamc_bandit.linear.regression`), and n_k is its number of outcomes. No candidate
counts as more than c outcomes, so that a frequently chosen candidate does not outweigh the most similar one.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from aamc_bandit.linear.regression import CoefficientPosterior, SufficientStatistics
from aamc_sdk.routing import CANDIDATE_NUMBERS, encode_candidates
from aamc_sdk.types import Floats, Pool

UNKNOWN_PRICE_DISTANCE = 1.0
"""The squared distance of log prices where a price is unknown."""
CENT = 0.01
"""USD per million tokens, added to prices, so that prices far below it are similar."""


@lru_cache(64)
def similarity(pool: Pool) -> Floats:
    """Return the similarity of the candidates of a pool, equation (1), ``[M, M]``; 0 on the diagonal."""
    words = encode_candidates(pool)[:, len(CANDIDATE_NUMBERS) :].astype(np.float64)
    prices = _log_prices(pool)
    price_distance = ((prices[:, None] - prices[None]) ** 2).sum(axis=2)
    squares, products = (words**2).sum(axis=1), words @ words.T  # differences of all pairs would be [M, M, words]
    distance = np.where(np.isnan(price_distance), UNKNOWN_PRICE_DISTANCE, price_distance) + squares[:, None] + squares - 2 * products
    found: Floats = np.exp(-distance / 2)
    np.fill_diagonal(found, 0.0)
    return found


def prior_means(statistics: SufficientStatistics, similarities: Floats, limit: float, prior_precision: Floats) -> Floats:
    """Return each candidate's prior mean, equation (2), ``[M, d]``.

    ``limit`` is c, and ``prior_precision`` the diagonal of Lambda in units of the noise's, ``[d]``.
    """
    share = similarities * np.minimum(1.0, limit / np.maximum(statistics.count, 1.0))
    pooled = SufficientStatistics(np.tensordot(share, statistics.precision, axes=1), share @ statistics.response, share @ statistics.count)
    return CoefficientPosterior.of(pooled, np.zeros_like(pooled.response), prior_precision).mean


def _log_prices(pool: Pool) -> Floats:
    """Return decimal logarithms of the input and output prices in USD per million tokens, ``[M, 2]``; NaN where unknown."""
    prices = [candidate.prices for candidate in pool]
    return np.array([(np.nan, np.nan) if each is None else np.log10((each.input + CENT, each.output + CENT)) for each in prices])
