"""Options of the orchestrator ``router-r1``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from aamc_router_r1.episode import AGGREGATIONS, POLICY, VOTE, DialogueLimits
from aamc_router_r1.protocol import CODECS, TAGS
from aamc_router_r1.reward import MODES, OUTCOMES, PAPER, CostNormalizer, RewardRule
from aamc_router_r1.training.options import TrainingOptions
from aamc_sdk import Preference, option
from aamc_sdk.errors import ConfigError

BOTH, COMPLETION = "all", "completion"
COST_TOKENS = (BOTH, COMPLETION)


def preference_of(alpha: float) -> Preference:
    """Return the preference that a prompt states for a weight of the cost."""
    return Preference(1 - alpha, alpha, 0.0)


@attrs.frozen(kw_only=True, slots=False)
class PolicyOptions:
    """Options of the policy's prompt and of an episode."""

    policy: str = option("", "Candidate of the pool that acts as the policy; '' for the trained checkpoint.")
    router_model_path: str = option("", "Folder of a trained router-r1 whose policy is asked, unless policy names a candidate.")
    codec: str = option(TAGS, "Form of the actions: tags in the text, as published, or tool calls.", choices=CODECS)
    continues: bool = option(False, "Whether the server continues one message, as in training; vLLM does. Otherwise each turn is a message.")
    consult_policy: bool = option(False, "Whether the policy may also be consulted as a model of the pool.")
    aliases: Mapping[str, str] = option({}, "Further names of candidates in searches, each with the candidate's name.")
    quality: Mapping[str, Mapping[str, float]] = option({}, "Measured quality in [0, 1] for the prompt, by candidate and category.")
    quality_from: str = option("", "Log whose measured quality the prompt shows, such as sqlite:log.db; '' for none.")
    show_preference: bool = option(False, "Whether the prompt states the weights of quality, cost and latency.")
    preference: tuple[float, ...] = option((), "Weights of quality, cost and latency that the prompt states if show_preference is set.")
    context: str = option("", "What the prompt states about the user; '' for nothing.")
    show_history: bool = option(True, "Whether the prompt has the earlier turns of the conversation.")
    parameters: Mapping[str, Any] = option({}, "Further parameters of the policy's requests, such as temperature.")

    rounds: int = option(4, "Maximum number of routing rounds; one last turn without routing follows.", at_least=0)
    calls: int = option(1, "Maximum number of models that one turn consults; they are called in parallel.", at_least=1)
    turn_tokens: int = option(1024, "Maximum tokens of a turn of the policy.", at_least=1)
    observation_tokens: int = option(600, "Maximum tokens of a reply that the policy sees; the rest is cut off.", at_least=1)
    routed_tokens: int = option(512, "Maximum tokens of a consulted model's answer.", at_least=1)
    routed_temperature: float = option(0.0, "Temperature of consulted models.", at_least=0)
    call_seconds: float = option(120.0, "Time limit of one call, in seconds.", above=0)
    episode_tokens: int = option(50_000, "Maximum tokens of an episode: prompts and answers of all calls.", at_least=1)
    episode_usd: float | None = option(None, "Maximum cost of an episode in USD; none for no limit.", above=0)
    episode_seconds: float = option(600.0, "Time limit of an episode, in seconds.", above=0)
    aggregation: str = option(
        POLICY, "Answer where the policy gives none: policy: none; vote: the most frequent reply; best: that of the best model.", choices=AGGREGATIONS
    )

    enable_multi_round_aggregation: bool = option(False, "As aggregation: vote, by its name in vLLM Semantic Router.")

    @property
    def aggregates_by(self) -> str:
        """The aggregation that these options ask for."""
        return VOTE if self.enable_multi_round_aggregation and self.aggregation == POLICY else self.aggregation

    @property
    def limits(self) -> DialogueLimits:
        """The limits of a dialogue."""
        return DialogueLimits(
            rounds=self.rounds,
            calls=self.calls,
            turn_tokens=self.turn_tokens,
            observation_tokens=self.observation_tokens,
            routed_tokens=self.routed_tokens,
        )


@attrs.frozen(kw_only=True, slots=False)
class RewardOptions:
    """Options of the reward."""

    reward: str = option(PAPER, "Equation of the reward; see the reference page.", choices=MODES)
    alpha: float = option(0.0, "Weight of the cost in the reward.", at_least=0, at_most=1)
    outcome: str = option("em", "Outcome of an answer: exact match, or F1 of words.", choices=tuple(OUTCOMES))
    format_penalty: float = option(-1.0, "Reward of a malformed episode.", at_most=0)
    cost_tokens: str = option(BOTH, "Tokens that cost: all, or those of completions only.", choices=COST_TOKENS)
    cost_window: int = option(1000, "Number of recent costs that scale a cost.", at_least=1)
    vsr_scale: float = option(10.0, "Model size times output tokens that gets no cost reward in mode vsr.", above=0)

    @property
    def rule(self) -> RewardRule:
        """A new reward rule with these options."""
        return RewardRule(
            mode=self.reward,
            alpha=self.alpha,
            outcome=OUTCOMES[self.outcome],
            format_penalty=self.format_penalty,
            normalizer=CostNormalizer(self.cost_window),
            vsr_scale=self.vsr_scale,
        )


@attrs.frozen(kw_only=True)
class RouterR1Config(PolicyOptions, RewardOptions, TrainingOptions):
    """Options of ``router-r1``."""

    def stated(self, preference: Preference) -> Preference:
        """Return the preference that a prompt states: with ``training_alphas`` the trained one whose weight of the cost is nearest.

        Raises:
            ConfigError: A trained weight is not from 0 to 1.
        """
        if not all(0 <= alpha <= 1 for alpha in self.training_alphas):
            raise ConfigError(f"training_alphas must be numbers from 0 to 1, not {self.training_alphas!r}")
        if not self.training_alphas:
            return preference
        cost = preference.cost / (preference.quality + preference.cost or 1.0)
        return preference_of(min(self.training_alphas, key=lambda alpha: abs(alpha - cost)))
