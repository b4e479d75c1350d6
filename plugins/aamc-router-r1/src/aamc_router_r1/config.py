"""Options of the orchestrator and of the router ``router-r1``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from aamc_router_r1.protocol import CODECS, TAGS
from aamc_router_r1.reward import RewardOptions
from aamc_sdk import Preference, option
from aamc_sdk.errors import ConfigError

AUTO = "auto"
PRECISIONS = (AUTO, "bf16", "fp32")
LIVE, SIMULATED = "live", "simulated"
REPLIES = "replies.jsonl"
"""The file of live replies that a training writes."""
GROUP = "group"
ROUTE, CHAT = "route", "chat"
ERROR = "error"
"""The fallback that raises."""
POLICY, VOTE, BEST = "policy", "vote", "best"
AGGREGATIONS = (POLICY, VOTE, BEST)
"""The policy's answer only; else a vote of the replies; else the reply of the best model."""


@attrs.frozen(kw_only=True, slots=False)
class TrainingOptions:
    """Options of training the policy. Defaults are those of the paper (arXiv 2506.09033); the how-to page lists the differences."""

    model: str = option("Qwen/Qwen2.5-3B-Instruct", "Causal language model to train: a folder, or a name that transformers downloads.")
    replies: str = option(
        AUTO, "Replies of consulted models: live, simulated, a file of recorded replies, or auto: simulated if possible for each record, else live."
    )
    training_alphas: tuple[float, ...] = option(
        (), "Weights of the cost to draw from in training; prompts state the drawn weight, in service the nearest one. () for alpha."
    )

    warm_start_epochs: float = option(1.0, "Epochs over the demonstrations of the records, before reinforcement learning; 0 for none.", at_least=0)
    warm_start_learning_rate: float = option(1e-5, "Learning rate of the warm start.", above=0)
    warm_start_batch_size: int = option(32, "Demonstrations per update of the warm start.", at_least=1)

    steps: int = option(225, "Updates by GRPO, unless num_epochs is set; 0 for only the warm start.", at_least=0)
    num_epochs: float = option(0.0, "Epochs over the questions by GRPO; 0 to make a number of steps instead.", at_least=0)
    batch_size: int = option(64, "Questions per update.", at_least=1)
    group_size: int = option(8, "Episodes per question; an episode's advantage is its reward relative to its group.", at_least=2)
    micro_batch_size: int = option(8, "Episodes on each device at a time; gradients are accumulated over the rest.", at_least=1)
    advantage_scale: str = option(
        GROUP,
        "Divisor of advantages: the standard deviation of the rewards in the group, as in GRPO, or in the update's batch, or none.",
        choices=(GROUP, "batch", "none"),
    )
    learning_rate: float = option(1e-6, "Learning rate of GRPO.", above=0)
    learning_rate_decay: bool = option(False, "Whether GRPO's learning rate falls linearly to 0; it is constant otherwise.")
    clip: float = option(0.2, "Clipping range of the probability ratio; no effect, since each batch of episodes makes one update.", above=0)
    kl: float = option(0.001, "Weight of the KL divergence from the policy after the warm start.", at_least=0)
    temperature: float = option(1.0, "Temperature of the episodes in training.", above=0)

    lora_rank: int = option(0, "Rank of LoRA adapters; 0 to train all weights.", at_least=0)
    precision: str = option(AUTO, "Number format of training: bf16, fp32, or auto: bf16 on a GPU.", choices=PRECISIONS)
    gradient_checkpointing: bool = option(False, "Compute activations twice, to save memory.")
    processes: int = option(1, "Processes of the training, one for each GPU, run by accelerate.", at_least=1)
    save_every: int = option(25, "Updates between checkpoints and validations.", at_least=1)
    validation_questions: int = option(128, "Questions per validation, which selects the best checkpoint.", at_least=1)


@attrs.frozen(kw_only=True, slots=False)
class ServerOptions:
    """Options of asking a server, named as in vLLM Semantic Router."""

    router_r1_server_url: str = option("", "Address of a server with POST /route, such as aamc serve-router; '' to ask the policy itself.")
    server_api: str = option(ROUTE, "How the server is asked: POST /route, or a chat completion.", choices=(ROUTE, CHAT))
    server_model: str = option("router-r1", "The policy's name on the server, for chat completions.")
    server_key_env: str = option("OPENAI_API_KEY", "Environment variable with the server's key; without the variable no key is sent.")
    enable_llm_routing: bool = option(True, "Whether the policy is asked; otherwise the fallback decides.")
    llm_routing_fallback: str = option("thompson", "Router that decides if the policy gives no usable answer; error: raise an error instead.")
    fallback_options: Mapping[str, Any] = option({}, "Options of the fallback.")
    use_router_r1_rewards: bool = option(False, "Whether the fallback learns from rewards of quality and cost instead of quality alone.")
    cost_reward_alpha: float = option(0.3, "Weight of the cost in the rewards of use_router_r1_rewards.", at_least=0, at_most=1)
    format_reward_penalty: float = option(-1.0, "Without effect; earlier checkpoints name it.", at_most=0)
    note_thinking: bool = option(False, "Whether decisions note the policy's thinking; it may quote the request, and the log keeps notes.")
    timeout_seconds: float = option(10.0, "Time limit of a decision in seconds, including retries.", above=0)
    retries: int = option(1, "Number of retries after a lost connection, a timeout, or status 408, 409, 429 or 5xx.", at_least=0)
    breaker_failures: int = option(5, "Consecutive failures after which the server gets no requests.", at_least=1)
    breaker_rest_seconds: float = option(10.0, "Seconds without requests after these failures.", above=0)
    cache_size: int = option(1000, "Number of cached decisions, by query and candidates; 0 for none.", at_least=0)
    cache_seconds: float = option(300.0, "Time for which a decision is cached, in seconds.", at_least=0)


def preference_of(alpha: float) -> Preference:
    """Return the preference that a prompt states for a weight of the cost."""
    return Preference(1 - alpha, alpha, 0.0)


def nearest_trained(preference: Preference, alphas: Sequence[float]) -> Preference:
    """Return the preference of the trained weight of the cost that is nearest to a preference's; the preference itself without any."""
    if not alphas:
        return preference
    cost = preference.cost / (preference.quality + preference.cost or 1.0)
    return preference_of(min(alphas, key=lambda alpha: abs(alpha - cost)))


@attrs.frozen(kw_only=True, slots=False)
class PolicyOptions:
    """Options of the policy's prompt and of an episode."""

    policy: str = option("", "Candidate of the pool that acts as the policy; '' for the trained checkpoint.")
    router_model_path: str = option("", "Folder of a trained router-r1 whose policy is asked, unless policy names a candidate.")
    codec: str = option(TAGS, "Form of the actions: tags in the text, as published, or tool calls.", choices=CODECS)
    continues: bool = option(False, "Whether the server continues one message, as in training (vLLM does); otherwise each turn is a message.")
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
    observation_tokens: int = option(600, "Maximum tokens of a reply in the policy's context; the rest is cut off.", at_least=1)
    routed_tokens: int = option(512, "Maximum tokens of a consulted model's answer.", at_least=1)
    routed_temperature: float = option(0.0, "Temperature of consulted models.", at_least=0)
    call_seconds: float = option(120.0, "Time limit of one call, in seconds.", above=0)
    episode_tokens: int = option(50_000, "Maximum tokens of an episode: prompts and answers of all calls.", at_least=1)
    episode_usd: float | None = option(None, "Maximum cost of an episode in USD; none for no limit.", above=0)
    episode_seconds: float = option(600.0, "Time limit of an episode, in seconds.", above=0)
    aggregation: str = option(
        POLICY, "Answer if the policy gives none: policy: none; vote: the most frequent reply; best: the best model's reply.", choices=AGGREGATIONS
    )

    enable_multi_round_aggregation: bool = option(False, "The same as aggregation: vote, under its name in vLLM Semantic Router.")

    @property
    def aggregates_by(self) -> str:
        """The aggregation that these options ask for."""
        return VOTE if self.enable_multi_round_aggregation and self.aggregation == POLICY else self.aggregation

    @property
    def routed_options(self) -> dict[str, Any]:
        """Parameters of the consulted models' requests."""
        return {"temperature": self.routed_temperature}


@attrs.frozen(kw_only=True)
class RouterOptions(PolicyOptions, ServerOptions):
    """Options of the router ``router-r1``."""


@attrs.frozen(kw_only=True)
class RouterR1Config(PolicyOptions, RewardOptions, TrainingOptions):
    """Options of ``router-r1``."""

    def __attrs_post_init__(self) -> None:
        if not all(0 <= alpha <= 1 for alpha in self.training_alphas):
            raise ConfigError(f"training_alphas must be numbers from 0 to 1, not {self.training_alphas!r}")


@attrs.frozen(kw_only=True)
class ChoiceOptions:
    """Options of router ``router-r1-choice``."""

    model: str = option(
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "Causal language model with attention layers to train: a folder, or a name that transformers downloads.",
    )
    question_characters: int = option(
        1000, "Maximum characters read from a query; of a longer one, half from the start and half from the end.", at_least=2
    )
    rows: int = option(0, "Maximum number of training rows, drawn at random; 0 for all.", at_least=0)
    warm_start_epochs: float = option(1.0, "Epochs of learning to name the candidate with the highest reward.", at_least=0)
    epochs: float = option(1.0, "Epochs of policy gradient after the warm start.", at_least=0)
    batch_size: int = option(32, "Rows per update.", at_least=1)
    micro_batch_size: int = option(8, "Maximum number of rows on the device at a time, a divisor of batch_size; gradients are added up.", at_least=1)
    learning_rate: float = option(5e-5, "Highest learning rate; it rises over the first 5% of the updates and falls to 0 by a cosine.", above=0)
    entropy: float = option(0.01, "Weight of the policy's entropy, relative to the reward.", at_least=0)
    lora_rank: int = option(0, "Rank of LoRA adapters; 0 to train all weights.", at_least=0)
    precision: str = option(AUTO, "Number format: bf16, fp32, or auto: bf16 on a GPU.", choices=PRECISIONS)
    save_every: int = option(25, "Updates between checkpoints.", at_least=1)
    sample: bool = option(False, "Whether decisions are drawn from the probabilities; otherwise the most probable candidate is chosen.")
