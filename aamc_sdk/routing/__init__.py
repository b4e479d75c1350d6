"""From queries to a decision: model pools, the request, features, rewards and the draw."""

from aamc_sdk.routing.draw import EXPECTED_QUALITY, choice_probabilities, decide, draw, uniform
from aamc_sdk.routing.features import (
    CANDIDATE_NUMBERS,
    PAIR_FEATURES,
    QUERY_NUMBERS,
    WORD_BUCKETS,
    Array32,
    Features,
    encode,
    encode_candidates,
    encode_pairs,
    encode_queries,
    hash_terms,
)
from aamc_sdk.routing.pools import default_pool, find_pool, pool_from_dict, pool_to_dict, read_pool
from aamc_sdk.routing.requests import (
    build_request,
    cache_read_cost,
    cache_savings,
    expected_cost,
    out_of_fold,
    token_counts,
    typical_request,
)
from aamc_sdk.routing.rewards import LinearReward, Scale, fit_reward

__all__ = [
    "CANDIDATE_NUMBERS",
    "EXPECTED_QUALITY",
    "PAIR_FEATURES",
    "QUERY_NUMBERS",
    "WORD_BUCKETS",
    "Array32",
    "Features",
    "LinearReward",
    "Scale",
    "build_request",
    "cache_read_cost",
    "cache_savings",
    "choice_probabilities",
    "decide",
    "default_pool",
    "draw",
    "encode",
    "encode_candidates",
    "encode_pairs",
    "encode_queries",
    "expected_cost",
    "find_pool",
    "fit_reward",
    "hash_terms",
    "out_of_fold",
    "pool_from_dict",
    "pool_to_dict",
    "read_pool",
    "token_counts",
    "typical_request",
    "uniform",
]
