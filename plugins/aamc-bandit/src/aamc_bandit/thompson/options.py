"""Options of ``thompson`` and ``epsilon-greedy``: those of vLLM Semantic Router's ``rl_driven`` under their names, then our own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import attrs

from aamc_bandit.feedback_outcomes import OutcomeOptions
from aamc_bandit.linear_utility import DEFAULT_COST_WEIGHT
from aamc_sdk.config import option
from aamc_sdk.errors import ConfigError
from aamc_sdk.types import is_figure

SHRINKAGE, LINEAR, PUBLISHED = "shrinkage", "linear", "published"
BLENDS = (SHRINKAGE, LINEAR, PUBLISHED)
HALF_LIFE, HALF_LIFE_EPSILON_GREEDY = 500, 200
"""Default numbers of feedbacks of weight 1 at a level and entity after which evidence counts half, of ``thompson`` and of ``epsilon-greedy``."""


def half_life_discount(half_life: int) -> float:
    """Return the factor on older evidence that halves it after this number of feedbacks of weight 1."""
    return float(0.5 ** (1 / half_life))


def discount_help(half_life: int) -> str:
    """Return the meaning of the option ``discount``."""
    return (
        "Factor on older evidence with each later feedback of weight 1 at the same level and entity; 1 keeps all; "
        f"none: a half-life of {half_life} feedbacks ({half_life_discount(half_life):.4f}), or 1 with a window."
    )


MIN_PRIOR = 0.5
"""Jeffreys' prior. Below it a posterior's mass lies at both ends, outside the range that the quadrature supports."""


@attrs.frozen(kw_only=True)
class ThompsonOptions(OutcomeOptions):
    """Options of ``thompson``."""

    half_life: ClassVar[int] = HALF_LIFE

    exploration_rate: float = option(0.3, "epsilon-greedy: initial share of decisions that explore.", at_least=0, at_most=1)
    exploration_decay: float = option(0.99, "epsilon-greedy: factor on that share after every 100 decisions.", at_least=0, at_most=1)
    min_exploration: float = option(
        0.05, "Minimum share of decisions that explore, with epsilon-greedy; with Thompson sampling see min_samples.", at_least=0, at_most=1
    )
    use_thompson_sampling: bool = option(True, "Draw each candidate with the probability that it is the best; false is epsilon-greedy.")
    enable_personalization: bool = option(True, "Keep and use evidence of each user.")
    personalization_blend: float = option(
        0.7,
        "Weight of a user's own evidence: 0 ignores it, 1 lets one outcome outweigh all others; in blend linear, its share.",
        at_least=0,
        at_most=1,
    )
    session_context_weight: float = option(
        0.5, "The same for a session's own evidence; in blend linear, the weight of the session's success share.", at_least=0, at_most=1
    )
    cost_awareness: bool = option(True, "Prefer cheap candidates among equals in requests without a preference, and when epsilon-greedy explores.")
    cost_weight: float = option(
        DEFAULT_COST_WEIGHT, "Weight of cost in requests without a preference; the whole range of cost is worth 0.2 times it in quality.", at_least=0
    )
    min_samples: int = option(
        10, "Outcomes below which a candidate is drawn with a probability of at least min_exploration / number of candidates.", at_least=0
    )
    storage_path: str | None = option(None, "JSON state file, read when serving starts and written as a snapshot; none for no file.")
    auto_save_interval: str = option("30s", "Time between two snapshots, in Go's notation for durations.")
    router_model_path: str | None = option(None, "Checkpoint folder of this router to start from; none to start without evidence.")

    blend: str = option(SHRINKAGE, "How the levels of evidence are combined; published is vLLM Semantic Router's whole algorithm.", choices=BLENDS)
    prior_alpha: float = option(1.0, "Prior wins of every candidate.", at_least=MIN_PRIOR)
    prior_beta: float = option(1.0, "Prior losses of every candidate.", at_least=MIN_PRIOR)
    category_strength: float = option(5.0, "Outcomes in a category that weigh as much as all others.", at_least=1)
    max_category_prior: float = option(25.0, "Maximum number of outcomes that a category's prior, learned outside it, counts as.", at_least=1)
    personal_strength: float = option(20.0, "Outcomes of a user that weigh as much as all others, at a weight of 0.5.", at_least=1)
    session_strength: float = option(5.0, "Outcomes of a session that weigh as much as all others, at a weight of 0.5.", at_least=1)
    max_personal_prior: float = option(100.0, "Maximum number of outcomes that the prior of a user or session counts as.", at_least=1)
    discount: float | None = option(None, discount_help(HALF_LIFE), above=0, at_most=1)
    window: int = option(0, "Number of latest pieces of feedback that count at each level and entity; 0 counts all.", at_least=0)
    shared_sessions: bool = option(
        False, "A session's evidence counts for every request with its id, as in vLLM Semantic Router; false: only for its tenant and user."
    )
    max_users: int = option(100_000, "Maximum number of users kept, the most recent ones.", at_least=1)
    max_sessions: int = option(2_000, "Maximum number of sessions kept, the most recent ones.", at_least=1)
    category_scores: Mapping[str, Mapping[str, float]] = option(
        {}, "Quality from 0 to 1 by category and candidate, known beforehand; each counts as 10 outcomes in the category."
    )
    prompt_prices: Mapping[str, float] = option(
        {}, "Blend published: prices of prompts in USD per million tokens, for candidates whose other prices are unknown."
    )
    sample: bool = option(True, "Draw decisions from the probabilities; false takes the maximum expected utility.")

    def __attrs_post_init__(self) -> None:
        if self.window and self.discount is not None and self.discount < 1:
            raise ConfigError(f"discount {self.discount!r} and window {self.window!r} exclude each other; leave discount at 1 or window at 0")
        for category, scores in self.category_scores.items():
            for name, score in scores.items():
                if not 0 <= score <= 1:
                    raise ConfigError(f"category_scores: the score of {name!r} in {category!r} must be from 0 to 1, not {score!r}")
        for name, price in self.prompt_prices.items():
            if not is_figure(price):
                raise ConfigError(f"prompt_prices: the price of {name!r} must be USD from 0 to 1e12, not {price!r}")
        if self.router_model_path is not None and self.router_model_path.endswith((".pt", ".pth")):
            raise ConfigError(
                f"router_model_path {self.router_model_path!r} is a torch file, which can run code when it is read, and not a bandit's checkpoint; "
                "give a checkpoint folder, such as RUN/routers/thompson; "
                "to start from a state of vLLM Semantic Router, give its JSON file as storage_path"
            )

    def winner_and_loser(self, mean: float) -> tuple[float, float]:
        """Return the qualities of both candidates of a comparison: in the published blends a win and a loss, as published."""
        return super().winner_and_loser(mean if self.blend == SHRINKAGE else 0.5)

    @property
    def kept(self) -> float:
        """The factor on older evidence with each later feedback of weight 1."""
        if self.discount is not None:
            return self.discount
        return 1.0 if self.window else half_life_discount(self.half_life)


@attrs.frozen(kw_only=True)
class EpsilonGreedyOptions(ThompsonOptions):
    """Options of ``epsilon-greedy``."""

    half_life: ClassVar[int] = HALF_LIFE_EPSILON_GREEDY

    discount: float | None = option(None, discount_help(HALF_LIFE_EPSILON_GREEDY), above=0, at_most=1)
    use_thompson_sampling: bool = option(False, "False is epsilon-greedy; true draws each candidate with the probability that it is the best.")
