"""Options of ``thompson`` and ``epsilon-greedy``: those of vLLM Semantic Router's ``rl_driven`` by their names there, and ours."""

from __future__ import annotations

import attrs

from aamc_bandit.semantic_router.translation import ROUTER_R1
from aamc_sdk.config import option
from aamc_sdk.errors import ConfigError

SHRINKAGE, LINEAR, PUBLISHED = "shrinkage", "linear", "published"
BLENDS = (SHRINKAGE, LINEAR, PUBLISHED)
LEAST_PRIOR = 0.5
"""Jeffreys' prior; below it a posterior's mass would lie at both ends, beyond what the quadrature is made for."""


@attrs.frozen(kw_only=True)
class Options:
    """Options of ``thompson``."""

    exploration_rate: float = option(0.3, "epsilon-greedy: share of decisions that explore, at first", at_least=0, at_most=1)
    exploration_decay: float = option(0.99, "epsilon-greedy: what is left of that share after every 100 decisions", at_least=0, at_most=1)
    min_exploration: float = option(0.05, "least share of decisions that explore: by epsilon-greedy; else see min_samples", at_least=0, at_most=1)
    use_thompson_sampling: bool = option(True, "draw each candidate with the probability that it is the best; false is epsilon-greedy")
    enable_personalization: bool = option(True, "keep and use evidence of each user")
    personalization_blend: float = option(
        0.7, "how much a user's own evidence weighs: 0 never, 1 from the first outcome; in blend linear, its share", at_least=0, at_most=1
    )
    session_context_weight: float = option(
        0.5, "how much a session's own evidence weighs, likewise; in blend linear, the share of its success share", at_least=0, at_most=1
    )
    implicit_feedback_weight: float = option(0.5, "weight of feedback whose source begins with 'implicit', times its confidence", at_least=0)
    cost_awareness: bool = option(True, "without a preference, prefer what is cheap among equals")
    cost_weight: float = option(0.2, "how much: the whole range of cost is worth 0.2 times this in quality", at_least=0)
    min_samples: int = option(
        10, "outcomes before a candidate may be left unexplored: until then, its least probability is min_exploration / candidates", at_least=0
    )
    storage_path: str | None = option(None, "JSON file whose state is taken over at the start and which a snapshot is written to; none for no file")
    auto_save_interval: str = option("30s", "time between two snapshots, as Go writes durations")
    router_model_path: str | None = option(None, "folder of a checkpoint of this router to start from; none to start from nothing")
    use_router_r1_rewards: bool = option(False, "no effect: " + ROUTER_R1["use_router_r1_rewards"])
    cost_reward_alpha: float = option(0.3, "no effect: " + ROUTER_R1["cost_reward_alpha"], at_least=0, at_most=1)
    format_reward_penalty: float = option(-1.0, "no effect: " + ROUTER_R1["format_reward_penalty"])
    enable_llm_routing: bool = option(False, "no effect: " + ROUTER_R1["enable_llm_routing"])
    router_r1_server_url: str | None = option(None, "no effect: " + ROUTER_R1["router_r1_server_url"])
    llm_routing_fallback: str = option("thompson", "no effect: " + ROUTER_R1["llm_routing_fallback"], choices=("thompson", "error"))
    enable_multi_round_aggregation: bool = option(False, "no effect: " + ROUTER_R1["enable_multi_round_aggregation"])
    max_aggregation_rounds: int = option(3, "no effect: " + ROUTER_R1["max_aggregation_rounds"], at_least=0)

    blend: str = option(SHRINKAGE, "how levels of evidence are combined; published is vLLM Semantic Router's whole algorithm", choices=BLENDS)
    prior_alpha: float = option(1.0, "wins that every candidate starts with", at_least=LEAST_PRIOR)
    prior_beta: float = option(1.0, "losses that every candidate starts with", at_least=LEAST_PRIOR)
    category_strength: float = option(5.0, "outcomes in a category that weigh as much as all others'", at_least=1)
    category_most: float = option(25.0, "outcomes that others' count for at most in a category", at_least=1)
    personal_strength: float = option(
        20.0, "outcomes of a user's or a session's own that weigh as much as all others', at a weight of 0.5", at_least=1
    )
    personal_most: float = option(100.0, "outcomes that others' count for at most for a user or a session", at_least=1)
    discount: float = option(
        1.0, "what evidence keeps of its weight with each later feedback there (everywhere, in the category, ...); 1 is off", above=0, at_most=1
    )
    window: int = option(0, "only so many of the last feedbacks there (everywhere, in the category, ...) count; 0 is off", at_least=0)
    max_users: int = option(100_000, "users that are remembered: those who were heard of last", at_least=1)
    max_sessions: int = option(100_000, "sessions that are remembered: those that were heard of last", at_least=1)
    sample: bool = option(True, "draw decisions; false takes the greatest expected utility")

    def __attrs_post_init__(self) -> None:
        if self.window and self.discount < 1:
            raise ConfigError(f"evidence fades by discount or by window, not by both (discount {self.discount!r}, window {self.window!r})")
        if self.router_model_path is not None and self.router_model_path.endswith((".pt", ".pth")):
            raise ConfigError(
                f"router_model_path {self.router_model_path!r} is a file of torch, which can run code when it is read, and no bandit's; "
                "give the folder of a checkpoint, such as RUN/routers/thompson; "
                "to start from a state of vLLM Semantic Router, give its JSON file as storage_path"
            )

    def without_effect(self) -> dict[str, str]:
        """Return those of the options that were set to something else than their default and do nothing, with why."""
        defaults = {field.name: field.default for field in attrs.fields(type(self))}
        return {name: ROUTER_R1[name] for name, default in defaults.items() if name in ROUTER_R1 and getattr(self, name) != default}


@attrs.frozen(kw_only=True)
class EpsilonGreedyOptions(Options):
    """Options of ``epsilon-greedy``."""

    use_thompson_sampling: bool = option(False, "false is epsilon-greedy; true draws each candidate with the probability that it is the best")
