"""A training: its options, data and state, which its stages share."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from aamc_router_r1.config import RouterR1Config
from aamc_router_r1.data import RoutingTask
from aamc_router_r1.reward import CostNormalizer
from aamc_router_r1.training.replies import Replies
from aamc_router_r1.training.rollout import BatchPlayer, PlayedEpisode, figures, score
from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import Progress
from aamc_sdk.messages import checkpoint_errors
from aamc_sdk.storage import RESTORE, check_file_hashes, file_hashes, plain, read_json_object, write_json
from aamc_sdk.types import Prices

STATE = "router_r1.json"
"""File of a checkpoint: the cost normalizer and the training's spending."""
SPENT = "spent.json"
"""File of a training with its spending up to its last episode."""
WARM_START = "warm_start"


def load_model(folder: str, device: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return a causal language model and its tokenizer; raise ConfigError if the folder or name holds none."""
    if (folder.startswith((".", "/", "~")) or folder.count("/") > 1) and not Path(folder).is_dir():  # transformers would ask the hub for it
        raise ConfigError(f"there is no folder {folder}; name a folder with a causal language model, or a model on the hub")
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # the caller reports
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    except (OSError, ValueError, SafetensorError) as error:
        first = str(error).strip().splitlines()[0]
        raise ConfigError(f"model {folder!r} is not a causal language model that transformers can load: {first}") from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    placed: Any = model
    return placed.to(chosen), tokenizer


def complete(folder: Path, state: Mapping[str, Any]) -> None:
    """Complete a checkpoint by the file ``STATE``, with the hashes of its weights and of its optimizer."""
    files = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".pt"))
    write_json(folder / STATE, {**state, "files": file_hashes(folder, files)})


def check_whole(folder: Path) -> None:
    """Raise CheckpointError if a file of a checkpoint is missing, or was changed after :func:`complete`, such as by a power cut."""
    advice = f"delete {folder}, and resume from the checkpoint before it"
    with checkpoint_errors(folder / STATE, advice):
        saved = read_json_object(folder / STATE)["files"]
    check_file_hashes(folder, saved, advice)


_MAY_CHANGE = frozenset(("micro_batch_size", "gradient_checkpointing", "processes"))
"""Options that a resumed training may change, for example after it ran out of memory."""


def made_for(config: Any, seed: int) -> dict[str, Any]:
    """Return the settings that a resumed training must share, in JSON types."""
    options = {name: value for name, value in attrs.asdict(config).items() if name not in _MAY_CHANGE}
    return {"options": plain(options), "seed": seed}


@attrs.define
class Job:
    """A training.

    Attributes:
        validation: Questions that select the best checkpoint; none to select the last.
        prices: Prices of the policy's tokens.
        start: Folder of the trained policy that is trained further; None to start from ``config.model``.
        budget_usd: The training ends when its calls have cost this amount.
        normalizer: The scale of costs in the rewards of updates; it follows the policy's costs.
        scale: The scale of costs in the rewards of validations, that of the first one with a range, so that these rewards can be compared.
        spent_usd: The cost of its calls, those of validations included.
        best: Mean reward of the best checkpoint in validation.
        curve: Figures of the updates.
        stages: Validation figures after each stage.
    """

    config: RouterR1Config
    folder: Path
    tasks: Sequence[RoutingTask]
    validation: Sequence[RoutingTask]
    replies: Replies
    prices: Prices
    seed: int
    device: str
    progress: Progress
    start: Path | None = None
    budget_usd: float = math.inf
    normalizer: CostNormalizer = attrs.field(factory=CostNormalizer)
    scale: CostNormalizer = attrs.field(factory=CostNormalizer)
    spent_usd: float = 0.0
    updates: int = 0
    best: float = -math.inf
    curve: list[dict[str, Any]] = attrs.field(factory=list)
    stages: dict[str, Any] = attrs.field(factory=dict)

    @property
    def model(self) -> str:
        """Folder or name of the model that the training starts from."""
        return str(self.start or self.config.model)

    @property
    def steps(self) -> int:
        """Number of updates by GRPO."""
        if self.config.num_epochs:
            return max(1, math.ceil(self.config.num_epochs * len(self.tasks) / self.config.batch_size))
        return self.config.steps

    @property
    def bf16(self) -> bool:
        """Whether to compute in bfloat16."""
        return self.config.precision == "bf16" or (self.config.precision == "auto" and self.device != "cpu" and torch.cuda.is_available())

    @property
    def made_for(self) -> dict[str, Any]:
        """The settings that a resumed training must share."""
        return made_for(self.config, self.seed)

    def player(self, tokenizer: PreTrainedTokenizerBase, temperature: float) -> BatchPlayer:
        """Return a player of episodes with this tokenizer."""
        return BatchPlayer(tokenizer=tokenizer, replies=self.replies, config=self.config, prices=self.prices, temperature=temperature)

    @property
    def alphas(self) -> Sequence[float]:
        """The weights of the cost that training draws from."""
        return self.config.training_alphas or (self.config.alpha,)

    def validate(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        """Return figures of the greedy policy on the validation questions, with rewards on :attr:`scale`.

        They are empty without questions, and where the budget ends before the last answer.

        Its calls count as spent.
        """
        if not self.validation:
            return {}
        player = self.player(tokenizer, 0.0)
        episodes = [player.begin(task, alpha) for number, task in enumerate(self.validation) for alpha in [self.alphas[number % len(self.alphas)]]]
        play_all(player, model, episodes, self.config.micro_batch_size * 4, lambda: self.spends(episodes))
        self.spend(episodes)
        if not all(episode.dialogue.done for episode in episodes):
            return {}
        if self.scale.flat:
            self.scale = CostNormalizer.from_state({**self.normalizer.state(), "frozen": True})
        score(self.config, self.scale, episodes)
        return figures(episodes)

    def spend(self, episodes: Sequence[PlayedEpisode], *, records: bool = True) -> None:
        """Count the cost of episodes, and record it at once: a killed training has spent it, although its last checkpoint does not say so.

        Of several processes, only the main one ``records``.
        """
        self.spent_usd += sum(episode.spent_usd for episode in episodes)
        if records:
            write_json(self.folder / SPENT, {"spent_usd": self.spent_usd})

    def recorded_usd(self) -> float:
        """Return the spending that :meth:`spend` recorded, before a training was killed."""
        if not (path := self.folder / SPENT).is_file():
            return 0.0
        with checkpoint_errors(path, RESTORE):
            return float(read_json_object(path)["spent_usd"])

    def spends(self, episodes: Sequence[PlayedEpisode] = ()) -> bool:
        """Return whether the budget is spent, together with these episodes."""
        return self.spent_usd + sum(episode.spent_usd for episode in episodes) >= self.budget_usd

    def keep(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
        """Write a checkpoint that serves as a policy: the model, its tokenizer and the cost normalizer; it replaces the former whole."""
        fresh, target = self.folder / f"{name}.new", self.folder / name
        shutil.rmtree(fresh, ignore_errors=True)
        model.save_pretrained(fresh)
        tokenizer.save_pretrained(fresh)
        complete(fresh, self.state())
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)

    def state(self) -> dict[str, Any]:
        """Return the part of the state that the weights do not hold, in plain JSON values."""
        best = None if self.best == -math.inf else self.best
        scales = {"normalizer": self.normalizer.state(), "scale": self.scale.state()}
        return {**scales, "spent_usd": self.spent_usd, "best": best, "curve": self.curve, "stages": self.stages}

    def restore(self, checkpoint: Path) -> None:
        """Restore that part of the state from a checkpoint."""
        state = read_json_object(checkpoint / STATE)
        with checkpoint_errors(checkpoint / STATE, RESTORE):
            self.normalizer, self.scale = (CostNormalizer.from_state(state[name]) for name in ("normalizer", "scale"))
            self.spent_usd = max(self.spent_usd, float(state["spent_usd"]))
            self.curve, self.stages = list(state["curve"]), dict(state["stages"])
            self.best = -math.inf if state["best"] is None else float(state["best"])

    def questions(self, steps: int) -> list[tuple[int, float]]:
        """Return the task and the weight of the cost of each question of the training, in order: passes over both, each in a new order."""
        rng, wanted = np.random.default_rng((self.seed, 1)), steps * self.config.batch_size
        order: list[int] = []
        alphas: list[float] = []
        while len(order) < wanted:
            order += rng.permutation(len(self.tasks)).tolist()
        while len(alphas) < wanted:
            alphas += rng.permutation(self.alphas).tolist()
        return list(zip(order[:wanted], alphas[:wanted], strict=True))


def play_all(player: BatchPlayer, model: Any, episodes: Sequence[PlayedEpisode], together: int, stops: Callable[[], bool] = lambda: False) -> None:
    """Play episodes, some at a time, with dropout off; no turn begins once ``stops`` returns True."""
    was = model.training
    model.eval()
    for first in range(0, len(episodes), together):
        player.play(model, episodes[first : first + together], stops)
    model.train(was)
