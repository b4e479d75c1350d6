"""Features of policies, the same in training and serving, and the observations of environments.

A request becomes features of each query, of each candidate, and of each (query, candidate) pair.
Candidates are described, not numbered, so a policy on these features handles pools of any size
and order, and unseen candidates.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.interfaces import Reward
from aamc_sdk.routing.requests import cache_read_cost, token_counts
from aamc_sdk.types import Candidate, Estimates, Floats, Outcomes, Pool, Query, RoutingRequest

QUERY_NUMBERS = ("complexity", "tool_use", "log_prompt_tokens", "log_output_tokens")
"""The first features of a query; the category probabilities follow."""
PAIR_FEATURES = ("quality", "cheapness", "quickness", "log_wait", "pressure", "cache_read", "allowed")
"""The features of a (query, candidate) pair.

``cache_read`` is the cheapness of reading query and answer again from the candidate's prompt cache, as each later turn of a conversation does,
relative to that of a free call: it stays near [0, 1] where the costs of candidates, and so the scale of cheapness, differ little.
"""
CANDIDATE_NUMBERS = ("log_input_price", "log_output_price", "prices_known", "log_network", "log_service", "latency_known", "log_context")
"""The first features of a candidate; the hashed words of its description follow."""
WORD_BUCKETS = 32
"""Features that hold a candidate's hashed words."""
_UNKNOWN_QUERY = (0.5, 0.0, 0.0, 0.0)
_MIN_CACHE_READ = -1e6
"""Lower bound of ``cache_read``, which 32 bits hold however small the scale of costs is."""
_UNKNOWN_PAIR = (0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
Array32 = NDArray[np.float32]
"""An array of 32-bit floats: features of a policy."""


@attrs.frozen(eq=False)
class Features:
    """The features of B requests; those of candidates are the same for every row, see :func:`encode_candidates`.

    Attributes:
        query: Features of queries, ``[B, 4 + C]``, see ``QUERY_NUMBERS``.
        preference: Weights, ``[B, 3]``.
        pair: Features of (query, candidate) pairs, ``[B, M, 7]``, see ``PAIR_FEATURES``.
        mask: Whether a candidate is allowed, ``[B, M]``.
    """

    query: Array32
    preference: Array32
    pair: Array32
    mask: NDArray[np.bool_]

    def flat(self) -> Array32:
        """Return one observation a row, ``[B, 4 + C + 3 + 7 M]``: query, preference, then the pairs candidate by candidate."""
        rows, candidates, numbers = self.pair.shape
        return np.concatenate((self.query, self.preference, self.pair.reshape(rows, candidates * numbers)), axis=1)


def encode(request: RoutingRequest, reward: Reward, categories: Sequence[str] | None = None) -> Features:
    """Return the features of a request, with its expected cost and latency on the reward's scales.

    The categories are those that the policy was trained with; the estimates' own when None.
    """
    return Features(
        query=encode_queries(request.queries, request.estimates, categories),
        preference=request.preferences.astype(np.float32),
        pair=encode_pairs(
            request.expected, request.wait_ms, request.mask, reward, request.pressure, cache_read_usd=cache_read_cost(request.queries, request.pool)
        ),
        mask=request.mask,
    )


def encode_queries(queries: Sequence[Query], estimates: Estimates, categories: Sequence[str] | None = None) -> Array32:
    """Return the features of queries, ``[B, 4 + C]``; an unknown complexity counts as 0.5, other unknowns as 0."""
    names = estimates.category_names if categories is None else categories
    features = np.empty((len(queries), len(QUERY_NUMBERS) + len(names)), dtype=np.float32)
    features[:, 0] = estimates.complexity
    features[:, 1] = estimates.tool_use
    features[:, 2:4] = np.log1p(token_counts(queries)) / 10
    features[:, 4:] = estimates.aligned(names)
    unknown = np.isnan(features)
    if np.count_nonzero(unknown):
        np.copyto(features, (*_UNKNOWN_QUERY, *[0.0] * len(names)), where=unknown)
    return features


def encode_pairs(
    expected: Outcomes,
    wait_ms: Floats,
    mask: NDArray[np.bool_],
    reward: Reward,
    pressure: Floats | None = None,
    *,
    cache_read_usd: Floats,
) -> Array32:
    """Return the features of pairs, ``[B, M, 7]``; an unknown quality counts as 0.5, other unknowns as 0.

    All arrays are ``[B, M]``; for ``cache_read_usd`` see :func:`aamc_sdk.routing.cache_read_cost`.

    In memory, the candidates of each feature are contiguous, which makes large pools several times faster.
    """
    rows, candidates = mask.shape
    pair = np.empty((rows, len(PAIR_FEATURES), candidates), dtype=np.float32).swapaxes(1, 2)
    pair[..., :3] = reward.vector(expected)
    pair[..., 3] = np.log1p(wait_ms / 1000) if np.count_nonzero(wait_ms) else 0.0
    pair[..., 4] = 0.0 if pressure is None else pressure
    cheapness, of_free_call = (reward.vector(attrs.evolve(expected, cost_usd=cost))[..., 1] for cost in (cache_read_usd, np.zeros(mask.shape)))
    pair[..., 5] = np.maximum(np.divide(cheapness, of_free_call, out=np.zeros(mask.shape), where=of_free_call > 0), _MIN_CACHE_READ)
    pair[..., 6] = mask
    unknown = np.isnan(pair)
    if np.count_nonzero(unknown):
        np.copyto(pair, _UNKNOWN_PAIR, where=unknown)
    return pair


def encode_candidates(pool: Pool) -> Array32:
    """Return the features of a pool's candidates, ``[M, 7 + 32]``."""
    return np.stack([_describe(candidate) for candidate in pool]).astype(np.float32)


def _describe(candidate: Candidate) -> Floats:
    numbers = np.zeros(len(CANDIDATE_NUMBERS))
    if candidate.prices is not None:
        numbers[:3] = np.log1p(candidate.prices.input), np.log1p(candidate.prices.output), 1
    if candidate.latency is not None:
        numbers[3:6] = np.log1p(candidate.latency.network_ms) / 10, np.log1p(candidate.latency.service_ms) / 10, 1
    numbers[6] = np.log1p(candidate.context_window or 0) / 10
    return np.concatenate((numbers, _hash_words(candidate)))


def _hash_words(candidate: Candidate) -> Floats:
    """Return the hashed abilities and words of the description (name if empty), of unit length."""
    words = re.findall(r"\w+", (candidate.description or candidate.name).lower())
    buckets = hash_terms(Counter([*words, *(f"ability:{ability}" for ability in candidate.abilities)]), WORD_BUCKETS)
    length = float(np.linalg.norm(buckets))
    return buckets / length if length else buckets


def hash_terms(weights: Mapping[str, float], width: int, dtype: type[np.floating[Any]] = np.float64) -> NDArray[Any]:
    """Return terms' weights by signed feature hashing (Weinberger et al. 2009, arXiv:0902.2206), ``[width]``."""
    hashed = np.zeros(width, dtype)
    for term, weight in weights.items():
        code = zlib.crc32(term.encode(errors="surrogatepass"))
        hashed[code % width] += weight if code & 0x80000000 else -weight
    return hashed
