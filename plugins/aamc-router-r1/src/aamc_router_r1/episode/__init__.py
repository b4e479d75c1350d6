"""Episodes: the turns of a policy, the calls to models, and the outcome."""

from aamc_router_r1.episode.aggregation import AGGREGATIONS, BEST, POLICY, VOTE, aggregated
from aamc_router_r1.episode.calls import BY_MODEL, BY_POLICY, ModelCall
from aamc_router_r1.episode.dialogue import ANSWERED, MALFORMED, NO_ANSWER, Dialogue, DialogueLimits
from aamc_router_r1.episode.episode import CONSULTED, Episode, Setup
from aamc_router_r1.episode.episode_budget import OUT_OF_TIME, OUT_OF_TOKENS, OUT_OF_USD, EpisodeBudget

__all__ = [
    "AGGREGATIONS",
    "ANSWERED",
    "BEST",
    "BY_MODEL",
    "BY_POLICY",
    "CONSULTED",
    "MALFORMED",
    "NO_ANSWER",
    "OUT_OF_TIME",
    "OUT_OF_TOKENS",
    "OUT_OF_USD",
    "POLICY",
    "VOTE",
    "Dialogue",
    "DialogueLimits",
    "Episode",
    "EpisodeBudget",
    "ModelCall",
    "Setup",
    "aggregated",
]
