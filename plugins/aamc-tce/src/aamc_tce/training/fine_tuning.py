"""Fine-tuning of the encoder together with the heads, in torch; resumable after every epoch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import safetensors
import safetensors.torch
import torch
from aamc_lexical.heads import UNLABELLED, HeadWeights, Targets
from aamc_lexical.text_length import LengthFeature
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from aamc_sdk.errors import CheckpointError
from aamc_sdk.storage import array_hash, json_hash, replacing, under
from aamc_tce.encoders.embedder import TokenIds
from aamc_tce.encoders.torch_encoder import TorchEncoder
from aamc_tce.training.training_schedule import MAX_GRADIENT_NORM, EarlyStopping, HeadTraining, learning_rate_scale

EVALUATION_BATCH = 256


class TextExamples:
    """Texts with the encoder that is fine-tuned on them, and if it is used the length of a text as one more number of its embedding.

    Attributes:
        width: The number of features of a text, D.
    """

    def __init__(self, texts: Sequence[str], encoder: TorchEncoder, text_length: LengthFeature | None = None) -> None:
        self.encoder = encoder
        self._tokens: list[TokenIds] = encoder.tokenize(texts)
        self._lengths = None if text_length is None else torch.tensor(text_length.values(texts), dtype=torch.float32, device=encoder.device)
        self.width = encoder.width + (text_length is not None)

    def __len__(self) -> int:
        return len(self._tokens)

    def batch(self, rows: NDArray[np.intp]) -> torch.Tensor:
        """Return the features of rows, ``[b, D]``, differentiable in the encoder."""
        embeddings = self.encoder.pool([self._tokens[row] for row in rows])
        return embeddings if self._lengths is None else torch.column_stack((embeddings, self._lengths[rows]))


class Heads(nn.Module):
    """A hidden layer and a linear head for each task, of these ``sizes``; the embedding and the hidden units have dropout."""

    def __init__(self, width: int, hidden: int, sizes: dict[str, int], dropout: float) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, hidden)
        self.dropout = nn.Dropout(dropout)
        self.tasks = nn.ModuleDict({task: nn.Linear(hidden, size) for task, size in sizes.items()})

    def forward(self, embedding: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return each task's logits, ``[B, size]``."""
        hidden = self.dropout(torch.relu(self.hidden(self.dropout(embedding))))
        return {task: head(hidden) for task, head in self.tasks.items()}

    def weights(self) -> HeadWeights:
        """Return the parameters as arrays."""
        return HeadWeights({name.removeprefix("tasks."): value.detach().cpu().numpy().copy() for name, value in self.state_dict().items()})


def multi_task_loss(logits: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor], weights: Mapping[str, float]) -> torch.Tensor:
    """Return the weighted sum of the tasks' losses over the known labels.

    Each loss is a cross entropy. With a soft label, such as a complexity of 0.3, its minimum is at that value.

    Args:
        logits: By task, ``[B, width]``.
        targets: By task: ``category [B]`` of indices, others ``[B, width]``, NaN where unknown.
        weights: The weight of each task.
    """
    total = sum((logit.sum() * 0.0 for logit in logits.values()), start=next(iter(logits.values())).new_zeros(()))
    for task, logit in logits.items():
        target = targets[task]
        known = target != UNLABELLED if task == "category" else target.isfinite()
        if not known.any():
            continue
        if task == "category":
            loss = functional.cross_entropy(logit[known], target[known])
        else:
            loss = functional.binary_cross_entropy_with_logits(logit[known], target[known])
        total = total + weights[task] * loss
    return total


def as_arrays(targets: Targets) -> dict[str, NDArray[np.float32] | NDArray[np.int64]]:
    """Return the targets by task in the form that the loss expects."""
    return {
        "complexity": targets.complexity[:, None].astype(np.float32),
        "category": targets.category,
        "tool_use": targets.tool_use[:, None].astype(np.float32),
        "quality": targets.quality.astype(np.float32),
    }


def fit(job: HeadTraining[TextExamples], checkpoint: Path | None, *, resume: bool) -> tuple[HeadWeights, list[dict[str, float]]]:
    """Train the heads and, in place, the encoder of the examples.

    With ``resume`` the training continues from the ``checkpoint``, the file for the state after each epoch; None writes none. The heads are those
    of the best epoch (without validation rows, the last epoch); the losses are those of each epoch.
    """
    sizes = job.targets.head_sizes()
    if not sizes:
        return HeadWeights({}), []
    encoder = job.examples.encoder
    device = encoder.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(job.seed)
        learner = _FineTuner(job, Heads(job.examples.width, job.config.hidden, sizes, job.config.dropout).to(device), checkpoint)
        if resume:
            learner.restore()
        learner.run()
    return learner.heads.weights(), learner.stopping.curve


def training_precision(choice: str, device: torch.device) -> torch.dtype | None:
    """Return the number format of forward passes; None for full precision.

    ``auto`` does not use bfloat16 on a GPU that only emulates it (V100, T4), since that is slower than full precision. Losses are scaled
    in float16, whose range is too small for gradients.
    """
    if choice != "auto":
        return {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(choice)
    if device.type != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


class _FineTuner:
    def __init__(self, job: HeadTraining[TextExamples], heads: Heads, checkpoint: Path | None) -> None:
        self.job, self.heads, self.checkpoint, self.stopping = job, heads, checkpoint, EarlyStopping()
        self.encoder = job.examples.encoder
        self.device = self.encoder.device
        self.model = nn.ModuleDict({"heads": heads, "encoder": self.encoder.model}).float()  # updates are too small for weights of half precision
        self.optimizer = torch.optim.AdamW(self._groups(), fused=True)
        self.precision = training_precision(job.config.mixed_precision, self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == torch.float16)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.best = self._weights()
        self.step_rows = job.config.batch_size * job.config.gradient_accumulation

    def _groups(self) -> list[dict[str, Any]]:
        """Return the parameters of heads and encoder with their learning rates; vectors (biases, layer norms) have no weight decay."""
        config, groups = self.job.config, []
        for part, rate in ((self.heads, config.head_learning_rate), (self.encoder.model, config.learning_rate)):
            for vectors, decay in ((False, config.weight_decay), (True, 0.0)):
                parameters = [parameter for parameter in part.parameters() if (parameter.dim() < 2) == vectors]
                groups.append({"params": parameters, "lr": rate, "weight_decay": decay})
        return groups

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def run(self) -> None:
        """Train to the end and restore the weights of the best epoch."""
        self.job.progress.start(self.job.name, self.job.config.epochs)
        self.job.progress.advance(self.stopping.epoch)
        while self.stopping.continues(self.job.config):
            loss = self._epoch()
            if self.stopping.add(loss, None if self.job.validation is None else self._validation_loss(*self.job.validation)):
                self.best = self._weights()
            self._keep()
            self.job.progress.advance(1, **self.stopping.curve[-1])
        self.model.load_state_dict(self.best)
        self.model.eval()

    def _epoch(self) -> float:
        """Train for one epoch; return the mean loss."""
        rng_seed = [self.job.seed, self.stopping.epoch]
        torch.manual_seed(int(np.random.default_rng(rng_seed).integers(2**31)))  # dropout is the same in a resumed epoch
        order = np.random.default_rng(rng_seed).permutation(len(self.job.examples))
        self.model.train()
        total = 0.0
        for start in range(0, len(order), self.step_rows):
            done = (self.stopping.epoch * len(order) + start) / (self.job.config.epochs * len(order))
            for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = rate * learning_rate_scale(done)
            total += self._step(order[start : start + self.step_rows])
        return total / len(order)

    def _step(self, rows: NDArray[np.intp]) -> float:
        """Update once on rows, accumulated over batches; return the summed loss."""
        total = 0.0
        self.optimizer.zero_grad()
        for start in range(0, len(rows), self.job.config.batch_size):
            part = rows[start : start + self.job.config.batch_size]
            loss = self._loss(self.job.examples, self.job.targets, part) * len(part)
            self.scaler.scale(loss / len(rows)).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            total += float(loss.detach())
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRADIENT_NORM)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return total

    def _loss(self, examples: TextExamples, targets: Targets, rows: NDArray[np.intp]) -> torch.Tensor:
        config = self.job.config
        tensors = {task: torch.as_tensor(array, device=self.device) for task, array in as_arrays(targets.take(rows)).items()}
        weights = {"complexity": config.lambda_c, "category": config.lambda_cat, "tool_use": config.lambda_t, "quality": config.lambda_q}
        with torch.autocast(self.device.type, dtype=self.precision, enabled=self.precision is not None):
            logits = self.heads(examples.batch(rows))
        return multi_task_loss({task: logit.float() for task, logit in logits.items()}, tensors, weights)

    def _validation_loss(self, examples: TextExamples, targets: Targets) -> float:
        self.model.eval()
        rows = np.arange(len(examples))
        with torch.inference_mode():
            parts = [rows[start : start + EVALUATION_BATCH] for start in range(0, len(rows), EVALUATION_BATCH)]
            return sum(float(self._loss(examples, targets, part)) * len(part) for part in parts) / len(rows)

    def _keep(self) -> None:
        """Write the state atomically."""
        if self.checkpoint is None:
            return
        tensors = {f"now/{name}": value for name, value in self._weights().items()}
        tensors |= {f"best/{name}": value for name, value in self.best.items()}
        for parameter, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adam/{parameter}/{name}": value for name, value in moments.items()}
        tensors = {name: value.contiguous() for name, value in tensors.items()}
        with replacing(self.checkpoint) as file:
            about = {"state": attrs.asdict(self.stopping), "scaler": self.scaler.state_dict()}
            state = {name: json.dumps(value) for name, value in (about | {"sha256": _hash(about, tensors)}).items()}
            file.write(safetensors.torch.save(tensors, state))

    def restore(self) -> None:
        """Restore the saved state, if there is one."""
        path = self.checkpoint
        if path is None or not path.exists():
            return
        try:
            with safetensors.safe_open(path, "pt", device=str(self.device)) as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # the file is not a mapping
                state = {name: json.loads(content) for name, content in file.metadata().items()}
            _check_hash(state.pop("sha256", None), state, tensors)
            stopping = EarlyStopping(**state["state"])
            self.scaler.load_state_dict(state["scaler"])
            self.model.load_state_dict(under("now/", tensors))
            self.best = under("best/", tensors)
            self._restore_moments(under("adam/", tensors))
        except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise CheckpointError(f"{path} is damaged or from another training ({error}); train again without --resume") from error
        self.stopping = stopping

    def _restore_moments(self, tensors: dict[str, torch.Tensor]) -> None:
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in tensors.items():
            parameter, _, moment = name.partition("/")
            moments.setdefault(int(parameter), {})[moment] = value
        self.optimizer.load_state_dict({"state": moments, "param_groups": self.optimizer.state_dict()["param_groups"]})


def _hash(about: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> str:
    arrays = {name: value.cpu().reshape(-1).view(torch.uint8).numpy() for name, value in tensors.items()}
    return json_hash([about["state"], about["scaler"], array_hash(arrays)])


def _check_hash(saved: str | None, about: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
    if saved not in (None, _hash(about, tensors)):  # version 0.1 wrote none
        raise ValueError("it was changed after it was written")
