"""Training the heads, alone on kept embeddings or together with the encoder; resumable after every epoch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol

import attrs
import numpy as np
import safetensors
import safetensors.torch
import torch
from aamc_lexical.heads import HeadWeights
from aamc_lexical.targets import Targets
from numpy.typing import NDArray
from torch import nn

from aamc_sdk.batch import Floats
from aamc_sdk.errors import CheckpointError
from aamc_sdk.files import replacing
from aamc_sdk.interfaces import Progress
from aamc_tce.config import TCEConfig
from aamc_tce.embedder import TokenIds
from aamc_tce.encoder import Encoder, one_core_each
from aamc_tce.losses import Labels, MultiTaskLoss, sigmoids

WARM_UP = 0.06
"""The share of the steps in which the learning rates rise, before they fall to zero, both linearly."""
MAX_GRADIENT_NORM = 1.0
EVALUATION_BATCH = 256


class Examples(Protocol):
    """Texts as the heads take them."""

    def __len__(self) -> int:
        """Return how many there are."""

    def batch(self, rows: NDArray[np.intp]) -> torch.Tensor:
        """Return the embeddings of some rows, ``[b, D]``."""


class FrozenExamples:
    """Embeddings that training does not change."""

    def __init__(self, features: Floats, device: torch.device) -> None:
        self._features = torch.as_tensor(features, dtype=torch.float32, device=device)

    def __len__(self) -> int:
        return len(self._features)

    def batch(self, rows: NDArray[np.intp]) -> torch.Tensor:
        """Return the embeddings of some rows, ``[b, D]``."""
        return self._features[torch.as_tensor(rows, device=self._features.device)]


class TextExamples:
    """Texts that go through the encoder each time."""

    def __init__(self, texts: Sequence[str], encoder: Encoder) -> None:
        self._tokens: list[TokenIds] = encoder.tokenize(texts)
        self._encoder = encoder

    def __len__(self) -> int:
        return len(self._tokens)

    def batch(self, rows: NDArray[np.intp]) -> torch.Tensor:
        """Return the embeddings of some rows, ``[b, D]``, differentiable in the encoder."""
        return self._encoder.pool([self._tokens[row] for row in rows])


class Heads(nn.Module):
    """A hidden layer and a linear head for each task, all heads in one layer: what they take is calls, not arithmetic.

    Args:
        width: Of the embedding.
        hidden: Of the hidden layer.
        sizes: Of each head.
        dropout: Share of the embedding and of the hidden units that are left out in a training step.
    """

    def __init__(self, width: int, hidden: int, sizes: dict[str, int], dropout: float) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, hidden)
        self.dropout = nn.Dropout(dropout)
        self.sizes = {task: sizes[task] for task in (*sigmoids(sizes), "category") if task in sizes}
        self.tasks = nn.Linear(hidden, sum(sizes.values()))

    def forward(self, embedding: torch.Tensor) -> torch.Tensor:
        """Return the logits of the sigmoids, then of the categories, ``[B, S + C]``."""
        logits: torch.Tensor = self.tasks(self.dropout(torch.relu(self.hidden(self.dropout(embedding)))))
        return logits

    def weights(self) -> HeadWeights:
        """Return the parameters as arrays, each task's by its name."""
        arrays = {}
        for name in ("weight", "bias"):
            parts = self.get_parameter(f"tasks.{name}").split(list(self.sizes.values()))
            named = {"hidden": self.get_parameter(f"hidden.{name}"), **dict(zip(self.sizes, parts, strict=True))}
            arrays |= {f"{task}.{name}": value.detach().cpu().numpy().copy() for task, value in named.items()}
        return HeadWeights(arrays)


@attrs.frozen(kw_only=True, eq=False)
class Job:
    """All that one training needs.

    Attributes:
        config: The estimator's options.
        examples: Training texts.
        targets: Their labels.
        validation: Texts and labels for early stopping, or None to train for all epochs.
        encoder: Trained along; None where it is frozen.
        width: Of the embeddings.
        seed: All randomness follows from it.
        device: Where to compute.
        checkpoint: Where to keep the state after each epoch, or None not to.
        resume: Whether to go on from there.
        progress: Where to report.
        name: What this training is called there.
    """

    config: TCEConfig
    examples: Examples
    targets: Targets
    validation: tuple[Examples, Targets] | None
    encoder: Encoder | None
    width: int
    seed: int
    device: torch.device
    checkpoint: Path | None
    resume: bool
    progress: Progress
    name: str


@attrs.define
class _State:
    """How far a training is."""

    epoch: int = 0
    best_loss: float = float("inf")
    epochs_since_best: int = 0
    curve: list[dict[str, float]] = attrs.field(factory=list)


def fit(job: Job) -> tuple[HeadWeights, list[dict[str, float]]]:
    """Train; the job's encoder, where it has one, is left with what it learned.

    Returns:
        The heads of the best epoch (the last one without validation rows), and the curve by epoch.
    """
    sizes = job.targets.head_sizes()
    if not sizes:
        return HeadWeights({}), []
    devices = [job.device] if job.device.type == "cuda" else []
    threads = one_core_each() if job.encoder is None else nullcontext()
    with torch.random.fork_rng(devices), threads:
        torch.manual_seed(job.seed)
        learner = _Learner(job, Heads(job.width, job.config.hidden, sizes, job.config.dropout).to(job.device))
        learner.run()
    return learner.heads.weights(), learner.state.curve


class _Learner:
    def __init__(self, job: Job, heads: Heads) -> None:
        self.job, self.heads, self.state = job, heads, _State()
        config, device = job.config, job.device
        weights = {"complexity": config.lambda_c, "category": config.lambda_cat, "tool_use": config.lambda_t, "quality": config.lambda_q}
        self.loss = MultiTaskLoss(heads.sizes, weights, device)
        self.labels = Labels.of(job.targets, heads.sizes, device)
        self.validation = None if job.validation is None else (job.validation[0], Labels.of(job.validation[1], heads.sizes, device))
        parts: dict[str, nn.Module] = {"heads": heads} | ({} if job.encoder is None else {"encoder": job.encoder.model})
        self.model = nn.ModuleDict(parts)
        self.parameters = list(self.model.parameters())
        self.optimizer = torch.optim.AdamW(self._groups(), weight_decay=job.config.weight_decay, fused=True)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.best = self._weights()
        self.step_rows = job.config.batch_size * job.config.gradient_accumulation

    def _groups(self) -> list[dict[str, Any]]:
        groups = [{"params": list(self.heads.parameters()), "lr": self.job.config.head_learning_rate}]
        if self.job.encoder is not None:
            groups.append({"params": list(self.job.encoder.model.parameters()), "lr": self.job.config.learning_rate})
        return groups

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def run(self) -> None:
        """Train to the end, and take the best epoch's weights."""
        if self.job.resume:
            self._restore()
        config, state = self.job.config, self.state
        self.job.progress.start(self.job.name, config.epochs)
        self.job.progress.advance(state.epoch)
        while state.epoch < config.epochs and state.epochs_since_best < config.patience:
            point = {"epoch": state.epoch + 1, "loss": self._epoch()}
            state.epoch += 1
            if self.validation is not None:
                point["validation_loss"] = self._validation_loss(*self.validation)
            loss = point.get("validation_loss", -state.epoch)  # without validation rows the last epoch is the best
            state.epochs_since_best += 1
            if loss < state.best_loss:
                state.best_loss, state.epochs_since_best, self.best = loss, 0, self._weights()
            state.curve.append(point)
            self._keep()
            self.job.progress.advance(1, **point)
        self.model.load_state_dict(self.best)
        self.model.eval()

    def _epoch(self) -> float:
        """Show every row once; return the mean loss."""
        rng_seed = [self.job.seed, self.state.epoch]
        torch.manual_seed(int(np.random.default_rng(rng_seed).integers(2**31)))  # a resumed epoch drops out the same units
        order = np.random.default_rng(rng_seed).permutation(len(self.job.examples))
        self.model.train()
        total = 0.0
        for start in range(0, len(order), self.step_rows):
            self._set_rates(start)
            total += self._step(order[start : start + self.step_rows])
        return total / len(order)

    def _step(self, rows: NDArray[np.intp]) -> float:
        """Update once on rows, part by part as memory allows; return the summed loss."""
        total = 0.0
        self.optimizer.zero_grad()
        for start in range(0, len(rows), self.job.config.batch_size):
            part = rows[start : start + self.job.config.batch_size]
            loss = self._loss(self.job.examples, self.labels, part) * len(part)
            (loss / len(rows)).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            total += float(loss.detach())
        nn.utils.clip_grad_norm_(self.parameters, MAX_GRADIENT_NORM)
        self.optimizer.step()
        return total

    def _loss(self, examples: Examples, labels: Labels, rows: NDArray[np.intp]) -> torch.Tensor:
        with torch.autocast(self.job.device.type, dtype=torch.bfloat16, enabled=self._mixed_precision()):
            logits = self.heads(examples.batch(rows))
        return self.loss(logits.float(), labels.take(torch.as_tensor(rows, device=self.job.device)))

    def _mixed_precision(self) -> bool:
        choice = self.job.config.mixed_precision
        return choice == "on" or (choice == "auto" and self.job.device.type == "cuda" and torch.cuda.is_bf16_supported())

    def _set_rates(self, row: int) -> None:
        """Set the learning rates from how much of the training is done."""
        rows = len(self.job.examples)
        done = (self.state.epoch * rows + row) / (self.job.config.epochs * rows)
        scale = min((done + 1e-3) / WARM_UP, (1 - done) / (1 - WARM_UP))
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * scale

    def _validation_loss(self, examples: Examples, labels: Labels) -> float:
        self.model.eval()
        rows = np.arange(len(examples))
        with torch.inference_mode():
            parts = [rows[start : start + EVALUATION_BATCH] for start in range(0, len(rows), EVALUATION_BATCH)]
            return sum(float(self._loss(examples, labels, part)) * len(part) for part in parts) / len(rows)

    def _keep(self) -> None:
        """Write the state whole or not at all."""
        if self.job.checkpoint is None:
            return
        tensors = {f"now/{name}": value for name, value in self._weights().items()}
        tensors |= {f"best/{name}": value for name, value in self.best.items()}
        for parameter, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adam/{parameter}/{name}": value for name, value in moments.items()}
        tensors = {name: value.contiguous() for name, value in tensors.items()}
        with replacing(self.job.checkpoint) as file:
            file.write(safetensors.torch.save(tensors, {"state": json.dumps(attrs.asdict(self.state))}))

    def _restore(self) -> None:
        """Go on from the kept state, where there is one."""
        path = self.job.checkpoint
        if path is None or not path.exists():
            return
        try:
            with safetensors.safe_open(path, "pt", device=str(self.job.device)) as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
                state = _State(**json.loads(file.metadata()["state"]))
            self.model.load_state_dict(_under("now/", tensors))
            self.best = _under("best/", tensors)
            self._restore_moments(_under("adam/", tensors))
        except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise CheckpointError(f"{path} is damaged or from another training ({error}); train again without --resume") from error
        self.state = state

    def _restore_moments(self, tensors: dict[str, torch.Tensor]) -> None:
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in tensors.items():
            parameter, _, moment = name.partition("/")
            moments.setdefault(int(parameter), {})[moment] = value
        self.optimizer.load_state_dict({"state": moments, "param_groups": self.optimizer.state_dict()["param_groups"]})


def _under(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
