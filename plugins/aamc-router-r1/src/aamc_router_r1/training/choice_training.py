"""The training of router ``router-r1-choice``.

Of a row of a table every outcome is known, so nothing is sampled: the first epochs minimise the cross-entropy to the candidates with the highest
reward, the rest maximise the expected reward of the policy, sum over candidates of probability times reward, whose gradient is the exact policy
gradient of an episode with one consultation; a weight of the entropy is added to both.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import SequentialSampler
from transformers import PrinterCallback, Trainer, TrainingArguments

from aamc_router_r1.config import ChoiceOptions
from aamc_router_r1.single.choice_policy import ChoicePolicy, load
from aamc_router_r1.training.stages import made_for
from aamc_router_r1.training.trainers import Follow, adapted, base_arguments, largest_divisor, last_checkpoint, merged
from aamc_sdk import Services, Training
from aamc_sdk.storage import load_training_checkpoint, save_training_checkpoint
from aamc_sdk.types import Floats

UNKNOWN = -1e9
"""The logit of a candidate whose outcome in the row is unknown."""


def order_of_rows(texts: Sequence[str], updates: int, batch_size: int, seed: int) -> list[int]:
    """Return the rows of all updates in order: passes over all rows, each in a new order.

    The rows of an update are sorted by length, so that those computed together need little padding.
    """
    rng = np.random.default_rng(seed)
    order: list[int] = []
    while len(order) < updates * batch_size:
        order += rng.permutation(len(texts)).tolist()
    batches = [order[first : first + batch_size] for first in range(0, updates * batch_size, batch_size)]
    return [row for batch in batches for row in sorted(batch, key=lambda row: len(texts[row]))]


class _ChoiceTrainer(Trainer):
    """Minimises the two losses of the module's description, one after the other."""

    policy: ChoicePolicy
    warm_start_updates: int

    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)  # type: ignore[arg-type]  # a list

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """Return the mean loss of a batch's rows."""
        is_warm_start = self.state.global_step < self.warm_start_updates
        return loss(self.policy.logits(model, inputs), inputs["reward"], is_warm_start, self.policy.config.entropy)


def loss(logits: Tensor, reward: Tensor, is_warm_start: bool, entropy_weight: float) -> Tensor:
    """Return the mean loss of rows with rewards ``[B, M]``, NaN where unknown; these candidates are left out of a row's policy."""
    known = torch.isfinite(reward)
    reward = reward.nan_to_num(-math.inf)
    chosen = logits.masked_fill(~known, UNKNOWN).log_softmax(dim=1)
    probability = chosen.exp()
    if is_warm_start:
        best = (reward >= reward.amax(dim=1, keepdim=True)).float()
        gain = (best * chosen).sum(dim=1) / best.sum(dim=1)
    else:
        gain = (probability * reward.masked_fill(~known, 0.0)).sum(dim=1)
    entropy = -(probability * chosen).sum(dim=1)
    return -(gain + entropy_weight * entropy).mean()


def train(config: ChoiceOptions, services: Services, texts: Sequence[str], reward: Floats, training: Training) -> tuple[ChoicePolicy, dict[str, Any]]:
    """Train the model on rows with rewards ``[B, M]``, NaN where unknown; return the policy and metrics."""
    policy = load(config, config.model, services.device)
    warm_start_updates, later_updates = (math.ceil(epochs * len(texts) / config.batch_size) for epochs in (config.warm_start_epochs, config.epochs))
    updates = warm_start_updates + later_updates
    if not updates:
        return policy, {"updates": 0, "rows": len(texts), "curve": []}

    def batch(rows: Sequence[int]) -> dict[str, Tensor]:
        rewards = torch.tensor(reward[rows], dtype=torch.float32, device=policy.model.device)
        return {**policy.batch([texts[row] for row in rows], policy.frame(services.pool)), "reward": rewards}

    if policy.bf16 and config.lora_rank:
        for weight in policy.model.parameters():  # buffers and the adapters stay in float32
            weight.data = weight.data.to(torch.bfloat16)
    with TemporaryDirectory() as scratch, _own_seeds():
        torch.manual_seed(services.seed)
        settings = made_for(config, services.seed)
        if not training.resume or load_training_checkpoint(training.folder, settings) is None:
            save_training_checkpoint(training.folder, {}, 0, [], settings)
        folder = training.folder or Path(scratch)
        trainer = _ChoiceTrainer(
            model=adapted(policy.model, config.lora_rank),
            args=_arguments(config, services, folder),
            train_dataset=order_of_rows(texts, updates, config.batch_size, services.seed),
            data_collator=batch,
            callbacks=[Follow(training.progress, "router-r1-choice", dict)],
        )
        trainer.policy, trainer.warm_start_updates = policy, warm_start_updates
        trainer.remove_callback(PrinterCallback)  # it prints to standard output
        trainer.train(resume_from_checkpoint=last_checkpoint(folder) if training.resume else None)
    curve = [{"step": point["step"], "loss": point["loss"]} for point in trainer.state.log_history if "loss" in point]
    policy.model.float()
    return ChoicePolicy(config, merged(trainer), policy.tokenizer), {"updates": trainer.state.global_step, "rows": len(texts), "curve": curve}


@contextmanager
def _own_seeds() -> Iterator[None]:
    """Give the program its random numbers back, whose generators the training seeds anew."""
    before = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


def _arguments(config: ChoiceOptions, services: Services, folder: Path) -> TrainingArguments:
    micro = largest_divisor(config.batch_size, config.micro_batch_size)
    arguments = TrainingArguments(
        **base_arguments(folder, services.device, services.seed, config.save_every, bf16=False),
        num_train_epochs=1,
        learning_rate=config.learning_rate,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=config.batch_size // micro,
        accelerator_config={"dispatch_batches": False},  # it would cut tensors that have no rows
        lr_scheduler_type="cosine",
        warmup_steps=0.05,
        remove_unused_columns=False,
    )
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # the trainer would divide a batch among GPUs by its first dimension
    return arguments
