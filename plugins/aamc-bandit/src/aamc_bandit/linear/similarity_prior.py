"""Where a candidate starts that little is known of: at what the others teach that resemble it.

    likeness(m, k) = exp(-(|log price_m - log price_k|^2 + |words_m - words_k|^2) / 2)                                (1)
    start_m = (Lambda + sum over k != m of s_mk A_k)^-1 sum over k != m of s_mk b_k,                                  (2)
    s_mk = likeness(m, k) min(1, c / n_k)

Words are those of the description, hashed to a vector of length one (:mod:`aamc_sdk.routing.features`). A_k and b_k are what candidate k's outcomes
taught (:mod:`aamc_bandit.linear.regression`), and n_k how many they are. No candidate counts as more than c outcomes, however often it was asked: a
favourite does not drown the one that is most alike.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from aamc_bandit.linear.regression import Evidence, solve
from aamc_sdk.routing import CANDIDATE_NUMBERS, encode_candidates
from aamc_sdk.types import Floats, ModelSpec, Pool

UNKNOWN_PRICE = 1.0
"""The squared distance of log prices where one of the two is unknown."""
CENT = 0.01
"""USD per million tokens; prices far below it are alike."""


@lru_cache(64)
def likeness(pool: Pool) -> Floats:
    """Return how alike the candidates of a pool are, equation (1), ``[M, M]``; 0 of each with itself."""
    words = encode_candidates(pool)[:, len(CANDIDATE_NUMBERS) :].astype(np.float64)
    prices = _log_prices(pool)
    apart = ((prices[:, None] - prices[None]) ** 2).sum(axis=2)
    distance = np.where(np.isnan(apart), UNKNOWN_PRICE, apart) + ((words[:, None] - words[None]) ** 2).sum(axis=2)
    found: Floats = np.exp(-distance / 2)
    np.fill_diagonal(found, 0.0)
    return found


def starts(evidence: Evidence, alike: Floats, most: float, prior_precision: Floats) -> Floats:
    """Return each candidate's prior mean, equation (2), ``[M, d]``.

    Args:
        evidence: Of the M candidates.
        alike: See :func:`likeness`.
        most: c, the most outcomes that one candidate counts as.
        prior_precision: The diagonal of Lambda, in units of the noise's, ``[d]``.
    """
    share = alike * np.minimum(1.0, most / np.maximum(evidence.count, 1.0))
    pooled = Evidence(np.tensordot(share, evidence.precision, axes=1), share @ evidence.response, share @ evidence.count)
    return solve(pooled, prior_precision)


def _log_prices(pool: Pool) -> Floats:
    """Return the decimal logarithms of the prices of prompt and answer in USD per million tokens, ``[M, 2]``; NaN where unknown."""
    prices = [candidate.prices if isinstance(candidate, ModelSpec) else None for candidate in pool]
    return np.array([(np.nan, np.nan) if each is None else np.log10((each.input + CENT, each.output + CENT)) for each in prices])
