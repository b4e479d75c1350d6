"""The policy of router ``router-r1-choice`` and its training.

The probability of a candidate is that of the tokens of its name after the begun turn, up to the one that tells it from all other names, over the
sum of all candidates' (:class:`ChoicePolicy`).
Of a row of a table every outcome is known, so nothing is sampled: the first epochs minimise the cross-entropy to the candidates with the highest
reward, the rest maximise the expected reward of the policy, sum over candidates of probability times reward, whose gradient is the exact policy
gradient of an episode with one consultation; a weight of the entropy is added to both.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase, PrinterCallback, Trainer, TrainingArguments
from transformers.utils import logging

from aamc_router_r1.config import AUTO, ChoiceOptions
from aamc_router_r1.protocol import render_prompt
from aamc_router_r1.training.rollout import plain_ids, prompt_ids
from aamc_router_r1.training.stages import load_model
from aamc_router_r1.training.trainers import Follow, adapted, base_arguments, last_checkpoint, merged
from aamc_sdk import Services, Training
from aamc_sdk.errors import ConfigError
from aamc_sdk.storage import write_json
from aamc_sdk.types import Floats, Pool

BEGUN = "<think> Which model fits this question? </think>\n<search>"
"""The begin of the policy's turn; a name and a colon follow."""
FILES = "files.json"
"""File of a saved policy: the names of the others, some of which transformers would do without."""
UNKNOWN = -1e9
"""The logit of a candidate whose outcome is unknown in a row."""


def load(config: ChoiceOptions, folder: str, device: str) -> ChoicePolicy:
    """Return the policy of a folder or of a name that transformers downloads; raise ConfigError if there is none that can be used."""
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # the caller reports
    model, tokenizer = load_model(folder, device)
    kinds = set(getattr(model.config.get_text_config(), "layer_types", None) or ["full_attention"])
    if others := kinds - {"full_attention"}:
        raise ConfigError(
            f"model {folder!r} has layers of the kind {min(others)!r}; router-r1-choice needs a model of full attention, such as a Llama"
        )
    return ChoicePolicy(config, model, tokenizer)


class ChoicePolicy:
    """A language model's distribution over candidates.

    What prompts share at their beginning is computed once for a batch, and the names of one row are computed side by side: each sees the row's
    prompt and itself only.
    """

    def __init__(self, config: ChoiceOptions, model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
        self.config, self.model, self.tokenizer = config, model.eval(), tokenizer

    def save(self, folder: Path) -> None:
        """Write the model and its tokenizer."""
        self.model.save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)  # nothing is generated
        self.tokenizer.save_pretrained(folder)
        write_json(folder / FILES, sorted(file.name for file in folder.iterdir() if file.is_file()))

    def scores(self, texts: Sequence[str], pool: Pool) -> Floats:
        """Return the log-probability of each candidate ``[B, M]``."""
        size = self.config.micro_batch_size
        with torch.inference_mode():
            logits = [self.logits(self.model, self.batch(texts[first : first + size], pool)) for first in range(0, len(texts), size)]
        return torch.cat(logits).double().log_softmax(dim=1).cpu().numpy()

    def logits(self, model: Any, batch: Mapping[str, Tensor]) -> Tensor:
        """Return :func:`name_logits` of the model, or of one that wraps it, in the precision of the options."""
        with torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.bf16):
            return name_logits(model, batch)

    @property
    def bf16(self) -> bool:
        """Whether to compute in bfloat16."""
        return self.config.precision == "bf16" or (self.config.precision == AUTO and self.model.device.type == "cuda")

    def batch(self, texts: Sequence[str], pool: Pool) -> dict[str, Tensor]:
        """Return the tokens of a batch as arguments of :func:`name_logits`."""
        names = distinct([plain_ids(self.tokenizer, f" {candidate.name}:") for candidate in pool])
        prompts = [self._prompt(text, pool) for text in texts]
        shared = min(_common(prompts), min(map(len, prompts)) - 1)
        rests = [prompt[shared:] for prompt in prompts]
        width = max(map(len, rests))
        inner = [token for name in names for token in name[:-1]]  # the last token of a name is only predicted
        owner = torch.tensor([-1] * width + [place for place, name in enumerate(names) for _ in name[:-1]])
        depth = torch.tensor([place for name in names for place in range(len(name) - 1)], dtype=torch.long)
        order = torch.arange(width + len(inner))
        within = (order <= order[:, None]) & ((owner == -1) | (owner == owner[:, None]))
        ids, positions, masks = [], [], []
        for rest in rests:
            padding = width - len(rest)
            ids.append([0] * padding + rest + inner)
            positions.append(torch.cat((torch.zeros(padding), torch.arange(len(rest)), len(rest) + depth)).long() + shared)
            masks.append(within & (order >= padding))
        seen = torch.ones(len(rests), len(order), shared, dtype=torch.bool)
        starts = np.cumsum([width] + [len(name) - 1 for name in names[:-1]]).tolist()
        sources = [place for start, name in zip(starts, names, strict=True) for place in (width - 1, *range(start, start + len(name) - 1))]
        tensors = {
            "input_ids": torch.tensor(prompts[0][:shared])[None],
            "rest_ids": torch.tensor(ids),
            "positions": torch.stack(positions),
            "mask": torch.cat((seen, torch.stack(masks)), dim=2)[:, None],
            "sources": torch.tensor(sources),
            "targets": torch.tensor([token for name in names for token in name]),
            "owners": torch.tensor([place for place, name in enumerate(names) for _ in name]),
        }
        return {key: tensor.to(self.model.device) for key, tensor in tensors.items()}

    def _prompt(self, text: str, pool: Pool) -> list[int]:
        half = self.config.question_characters // 2
        question = text if len(text) <= 2 * half else f"{text[:half]} ... {text[-half:]}"
        models = sorted(pool, key=lambda candidate: candidate.name)  # the order of a pool means nothing
        return prompt_ids(self.tokenizer, render_prompt(question, models, {}, rounds=1)) + plain_ids(self.tokenizer, BEGUN)


def distinct(names: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return the tokens of each name up to the one that tells it from all others."""
    found = []
    for place, name in enumerate(names):
        others = [*names[:place], *names[place + 1 :]]
        found.append(list(name[: 1 + max((_common((name, other)) for other in others), default=0)]))
    return found


def _common(rows: Sequence[Sequence[int]]) -> int:
    """Return the number of tokens that all rows begin with."""
    columns = zip(*rows, strict=False)
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))


def name_logits(model: Any, batch: Mapping[str, Tensor]) -> Tensor:
    """Return the log-probability of each candidate's distinct tokens ``[B, M]``, not normalised over candidates."""
    decoder, head = model.get_decoder(), model.get_output_embeddings()
    rest = batch["rest_ids"]
    cache = decoder(input_ids=batch["input_ids"], use_cache=True).past_key_values
    cache.batch_repeat_interleave(len(rest))
    states = decoder(
        input_ids=rest, attention_mask=batch["mask"], position_ids=batch["positions"], past_key_values=cache, use_cache=True
    ).last_hidden_state
    logits = head(states[:, batch["sources"]]).float()
    targets = batch["targets"].expand(len(rest), -1)
    tokens = logits.gather(-1, targets[..., None])[..., 0] - logits.logsumexp(-1)
    return torch.zeros(len(rest), int(batch["owners"].max()) + 1, device=rest.device).index_add(1, batch["owners"], tokens)


@attrs.frozen
class _Batches:
    """Makes a batch of row numbers."""

    policy: ChoicePolicy
    texts: Sequence[str]
    reward: Floats
    pool: Pool

    def __call__(self, rows: Sequence[Mapping[str, int]]) -> dict[str, Tensor]:
        chosen = [row["row"] for row in rows]
        reward = torch.tensor(self.reward[chosen], dtype=torch.float32, device=self.policy.model.device)
        return {**self.policy.batch([self.texts[row] for row in chosen], self.pool), "reward": reward}


class _ChoiceTrainer(Trainer):
    """Minimises the two losses of the module's description, one after the other."""

    policy: ChoicePolicy

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """Return the mean loss of a batch's rows."""
        config = self.policy.config
        warm = self.state.global_step * (config.warm_start_epochs + config.epochs) < config.warm_start_epochs * self.state.max_steps
        return loss(self.policy.logits(model, inputs), inputs["reward"], warm, config.entropy)


def loss(logits: Tensor, reward: Tensor, warm: bool, entropy: float) -> Tensor:
    """Return the mean loss of rows with rewards ``[B, M]``, NaN where unknown; these candidates are left out of a row's policy."""
    known = torch.isfinite(reward)
    reward = reward.nan_to_num(-math.inf)
    chosen = logits.masked_fill(~known, UNKNOWN).log_softmax(dim=1)
    probability = chosen.exp()
    if warm:
        best = (reward >= reward.amax(dim=1, keepdim=True)).float()
        gain = (best * chosen).sum(dim=1) / best.sum(dim=1)
    else:
        gain = (probability * reward.masked_fill(~known, 0.0)).sum(dim=1)
    spread = -(probability * chosen).sum(dim=1)
    return -(gain + entropy * spread).mean()


def train(config: ChoiceOptions, services: Services, texts: Sequence[str], reward: Floats, training: Training) -> tuple[ChoicePolicy, dict[str, Any]]:
    """Train the model on rows with rewards ``[B, M]``, NaN where unknown; return the policy and metrics."""
    policy = load(config, config.model, services.device)
    if not config.warm_start_epochs + config.epochs:
        return policy, {"updates": 0, "rows": len(texts), "curve": []}
    torch.manual_seed(services.seed)
    if policy.bf16 and config.lora_rank:
        for weight in policy.model.parameters():  # buffers and the adapters stay in float32
            weight.data = weight.data.to(torch.bfloat16)
    with TemporaryDirectory() as scratch, _own_seeds():
        folder = training.folder or Path(scratch)
        trainer = _ChoiceTrainer(
            model=adapted(policy.model, config.lora_rank),
            args=TrainingArguments(**_arguments(config, services, folder)),
            train_dataset=[{"row": row} for row in range(len(texts))],
            data_collator=_Batches(policy, texts, reward, services.pool),
            callbacks=[Follow(training.progress, "router-r1-choice", dict)],
        )
        trainer.policy = policy
        trainer.remove_callback(PrinterCallback)  # it prints to standard output
        trainer.train(resume_from_checkpoint=last_checkpoint(folder) if training.resume else None)
    curve = [{"step": point["step"], "loss": point["loss"]} for point in trainer.state.log_history if "loss" in point]
    policy.model.float()
    return ChoicePolicy(config, merged(trainer), policy.tokenizer), {"updates": trainer.state.global_step, "rows": len(texts), "curve": curve}


@contextmanager
def _own_seeds() -> Iterator[None]:
    """Give the program its random numbers back, which transformers seeds anew."""
    before = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


def _arguments(config: ChoiceOptions, services: Services, folder: Path) -> dict[str, Any]:
    micro = min(config.micro_batch_size, config.batch_size)
    return {
        **base_arguments(folder, services.device, services.seed, config.save_every, bf16=False),
        "num_train_epochs": config.warm_start_epochs + config.epochs,
        "learning_rate": config.learning_rate,
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": max(1, config.batch_size // micro),
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.05,
        "remove_unused_columns": False,
    }
