"""Rewards of episodes: outcome, cost and format."""

from aamc_router_r1.reward.answers import OUTCOMES, Verifier, exact_match, f1, normalize_answer
from aamc_router_r1.reward.normalizer import CostNormalizer
from aamc_router_r1.reward.rewards import MODES, PAPER, RELEASED, VSR, RewardParts, RewardRule, combine, size_cost

__all__ = [
    "MODES",
    "OUTCOMES",
    "PAPER",
    "RELEASED",
    "VSR",
    "CostNormalizer",
    "RewardParts",
    "RewardRule",
    "Verifier",
    "combine",
    "exact_match",
    "f1",
    "normalize_answer",
    "size_cost",
]
