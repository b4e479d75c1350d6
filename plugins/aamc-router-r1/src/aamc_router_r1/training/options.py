"""Options of training the policy. Those of the paper (arXiv 2506.09033) are the defaults, but for the algorithm: GRPO has no critic."""

from __future__ import annotations

import attrs

from aamc_sdk import option

AUTO = "auto"
LIVE, SIMULATED = "live", "simulated"
GROUP = "group"


@attrs.frozen(kw_only=True, slots=False)
class TrainingOptions:
    """Options of training the policy."""

    model: str = option("Qwen/Qwen2.5-3B-Instruct", "Causal language model to train: a folder, or a name that transformers downloads.")
    replies: str = option(
        AUTO, "Replies of consulted models: live, simulated, a file of recorded replies, or auto: simulated if each record can be, else live."
    )
    training_alphas: tuple[float, ...] = option(
        (), "Weights of the cost to draw from in training; prompts state the drawn one, in service the nearest. () for alpha."
    )

    warm_start_epochs: float = option(1.0, "Epochs over the demonstrations of the records, before reinforcement learning; 0 for none.", at_least=0)
    warm_start_learning_rate: float = option(1e-5, "Learning rate of the warm start.", above=0)
    warm_start_batch_size: int = option(32, "Demonstrations of one update of the warm start.", at_least=1)

    steps: int = option(225, "Updates by GRPO, unless num_epochs is set; 0 for the warm start alone.", at_least=0)
    num_epochs: float = option(0.0, "Epochs over the questions by GRPO; 0 to make a number of steps instead.", at_least=0)
    batch_size: int = option(64, "Questions of one update.", at_least=1)
    group_size: int = option(8, "Episodes of each question; an episode's advantage is its reward relative to its group.", at_least=2)
    micro_batch_size: int = option(8, "Episodes on each device at a time; gradients are accumulated over the rest.", at_least=1)
    advantage_scale: str = option(
        GROUP,
        "Divisor of advantages: the standard deviation of the rewards of the group, as in GRPO, or of the update's batch, or none.",
        choices=(GROUP, "batch", "none"),
    )
    learning_rate: float = option(1e-6, "Learning rate of GRPO.", above=0)
    learning_rate_decay: bool = option(False, "Whether GRPO's learning rate falls linearly to 0; it is constant otherwise.")
    clip: float = option(0.2, "Clipping range of the probability ratio.", above=0)
    kl: float = option(0.001, "Weight of the KL divergence from the policy after the warm start.", at_least=0)
    temperature: float = option(1.0, "Temperature of the episodes in training.", above=0)

    lora_rank: int = option(0, "Rank of LoRA adapters; 0 to train all weights.", at_least=0)
    precision: str = option(AUTO, "Number format of training: bf16, fp32, or auto: bf16 on a GPU.", choices=(AUTO, "bf16", "fp32"))
    gradient_checkpointing: bool = option(False, "Compute activations twice, to need less memory.")
    processes: int = option(1, "Processes of the training, one for each GPU, run by accelerate.", at_least=1)
    save_every: int = option(25, "Updates between checkpoints and validations.", at_least=1)
    validation_questions: int = option(128, "Questions of a validation; it selects the best checkpoint.", at_least=1)
