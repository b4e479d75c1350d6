"""Episodes: the turns of a policy, the calls to models, and the outcome."""

from aamc_router_r1.episode.calls import BY_MODEL, BY_POLICY, EpisodeBudget, ModelCall, ask_once, consultation, replied, request_options
from aamc_router_r1.episode.dialogue import ANSWERED, Dialogue
from aamc_router_r1.episode.episode import Episode, Setup

__all__ = [
    "ANSWERED",
    "BY_MODEL",
    "BY_POLICY",
    "Dialogue",
    "Episode",
    "EpisodeBudget",
    "ModelCall",
    "Setup",
    "ask_once",
    "consultation",
    "replied",
    "request_options",
]
