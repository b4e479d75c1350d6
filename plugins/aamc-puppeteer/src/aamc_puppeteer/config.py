"""Options of the orchestrator ``puppeteer``, and of the episodes of the Gymnasium environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs

from aamc_puppeteer.episodes.rewards import REWARDS, EpisodeReward
from aamc_sdk import option

DEFAULT_AGENTS = ("calculator", "file-reader", "python", "retriever")
TRIALS = "for trials also checker, extractor, parser, reviser, strings and table, which solve the generated suites."
AGENT_TIMEOUT, MAX_CHARACTERS = 300.0, 20_000
"""The timeout is longer than all attempts of a role's call of its model."""
JOINS = ("vote", "judge")
_RULE = EpisodeReward()
REWARD_OPTIONS = {
    "reward": "name",
    "success_reward": "success",
    "failure_reward": "failure",
    **{name: name for name in ("cost_weight", "discount", "step_factor", "step_scale")},
}
"""The options of the reward, each with its attribute of :class:`EpisodeReward`."""


@attrs.frozen(kw_only=True)
class EpisodeOptions:
    """Agents, limits and rewards of an episode. An action is an activation of an agent, or the decision to stop."""

    agents: tuple[str, ...] = option((), f"Names of the agents (default: those of the suite, else {', '.join(DEFAULT_AGENTS)}); {TRIALS}")
    agent_options: Mapping[str, Mapping[str, Any]] = option({}, "Options of agents, by the agent's name.")
    estimator: str = option("lexical", "Estimator that embeds tasks and agents; it is trained on their texts.")
    estimator_options: Mapping[str, Any] = option({}, "The estimator's options.")
    max_steps: int = option(12, "Maximum number of activations in a training episode.", at_least=0)
    agent_timeout: float = option(AGENT_TIMEOUT, "Timeout of an agent's turn in seconds.", above=0)
    max_characters: int = option(MAX_CHARACTERS, "Maximum characters of an output; the rest is cut off.", at_least=1)

    reward: str = option(_RULE.name, "Equation of the reward; see the reference page.", choices=REWARDS)
    success_reward: float = option(_RULE.success, "Reward of a correct answer (r).")
    failure_reward: float = option(_RULE.failure, "Reward of a wrong answer (r).")
    cost_weight: float = option(_RULE.cost_weight, "Reward lost for each USD (λ).", at_least=0)
    discount: float = option(_RULE.discount, "Discount of the reward for each action (γ).", at_least=0, at_most=1)  # noqa: RUF001  # the equations' letter
    step_factor: float = option(_RULE.step_factor, "Cost of late steps in USD (F), for reward 'log'.", at_least=0)
    step_scale: float = option(_RULE.step_scale, "Number of steps after which the cost grows slowly (φ), for reward 'log'.", above=0)

    @property
    def rule(self) -> EpisodeReward:
        """The reward rule of these options."""
        return EpisodeReward(**{field: getattr(self, name) for name, field in REWARD_OPTIONS.items()})


@attrs.frozen(kw_only=True, slots=False)  # a second base class cannot have slots
class LearningOptions:
    """Options of the policy and of REINFORCE, which orchestrator and router share; a router's candidates are its agents."""

    updates: int = option(2000, "Gradient steps.", at_least=0)
    episodes: int = option(64, "Episodes in an update, played in parallel.", at_least=1)
    learning_rate: float = option(0.003, "Step size of Adam; it falls to a tenth in the last third.", above=0)
    entropy_bonus: float = option(0.3, "Initial weight of the policy's entropy, in normalised reward per nat; it falls to 0.", at_least=0)
    gradient_clip: float = option(1.0, "Maximum norm of the policy's gradient, and of the baseline's.", above=0)
    withheld: float = option(
        0.3, "Share of agents whose name is hidden from the policy in training; half of them without description.", at_least=0, at_most=1
    )
    hidden: int = option(64, "Width of hidden layers.", at_least=1)
    sample: bool = option(False, "Whether actions are drawn from the policy after training, instead of the most probable ones.")

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"updates": 1000, "episodes": 32, "learning_rate": 0.01},
        "full": {},
        "paper": {"learning_rate": 1e-4},
    }


@attrs.frozen(kw_only=True)
class PuppeteerConfig(EpisodeOptions, LearningOptions):
    """Options of ``puppeteer``."""

    absent_agents: float = option(0.2, "Share of training episodes in which some agents are absent.", at_least=0, at_most=1)
    checkpoint_every: int = option(50, "Updates between checkpoints.", at_least=1)

    paths: int = option(1, "Maximum number of parallel paths after training; 1 does not fork.", at_least=1)
    branches: int = option(2, "Maximum number of agents that a path forks into.", at_least=1)
    fork_depth: int = option(2, "Number of activations after which paths no longer fork.", at_least=0)
    join: str = option("vote", "How the paths' answers are joined.", choices=JOINS)
    judge: str = option("", "Agent that picks an answer if join is 'judge'.")

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {**LearningOptions.presets, "paper": {"reward": "log", "learning_rate": 1e-4}}
