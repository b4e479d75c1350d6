"""Router ``router-r1-choice``: the probability with which a language model writes each candidate's name as its first consultation.

The model reads the prompt of Router-R1, and its turn is begun for it up to the name: a fixed thought, then ``<search>``. So every candidate has an
exact probability, nothing can be malformed, and a table of outcomes suffices to train it. Torch is imported for training and for the first decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from scipy.special import softmax  # type: ignore[import-untyped]  # scipy ships no types

from aamc_router_r1.config import AUTO, PRECISIONS
from aamc_router_r1.training.job import check_libraries
from aamc_sdk import Requirements, Router, RoutingRequest, Scores, Services, Training, option
from aamc_sdk.errors import CheckpointError, ConfigError, DataError, PluginError
from aamc_sdk.storage import RESTORE, read_json

if TYPE_CHECKING:
    from aamc_router_r1.training.choice import ChoicePolicy

WHY = "A language model read the text and the candidates' descriptions; it knows the preference of its training alone."
"""The note of each decision."""


@attrs.frozen(kw_only=True)
class ChoiceOptions:
    """Options of router ``router-r1-choice``."""

    model: str = option(
        "HuggingFaceTB/SmolLM2-135M-Instruct", "Causal language model to train, of attention layers: a folder, or a name that transformers downloads."
    )
    question_characters: int = option(1000, "Characters of a query that the model reads; of a longer one half from each end.", at_least=2)
    rows: int = option(0, "Maximum number of training rows, drawn at random; 0 for all.", at_least=0)
    warm_start_epochs: float = option(1.0, "Epochs of learning to name the candidate with the highest reward.", at_least=0)
    epochs: float = option(1.0, "Epochs of policy gradient after them.", at_least=0)
    batch_size: int = option(32, "Rows of one update.", at_least=1)
    micro_batch_size: int = option(8, "Rows on the device at a time; gradients are accumulated over the rest.", at_least=1)
    learning_rate: float = option(5e-5, "Highest learning rate; it rises over the first 5% of the updates and falls to 0 by a cosine.", above=0)
    entropy: float = option(0.01, "Weight of the policy's entropy beside the reward.", at_least=0)
    lora_rank: int = option(0, "Rank of LoRA adapters; 0 to train all weights.", at_least=0)
    precision: str = option(AUTO, "Number format: bf16, fp32, or auto: bf16 on a GPU.", choices=PRECISIONS)
    save_every: int = option(25, "Updates between checkpoints.", at_least=1)
    sample: bool = option(False, "Whether decisions are drawn from the probabilities; the most probable candidate is taken otherwise.")


class ChoiceRouter(Router):
    """Scores candidates by a language model's probability of naming them; thread-safe."""

    Config = ChoiceOptions
    config: ChoiceOptions
    requires = Requirements(outcomes=True, text=True, training=True)
    uses_preference = False
    uses_estimates = False

    def __init__(self, config: ChoiceOptions, services: Services) -> None:
        super().__init__(config, services)
        self._policy: ChoicePolicy | None = None

    def score(self, request: RoutingRequest) -> Scores:
        """Return the logarithm of each candidate's probability as its utility."""
        if self._policy is None:
            raise PluginError("router-r1-choice is not trained; train it with: aamc train --router router-r1-choice --dataset outcomes:FILE")
        if not len(request):
            return Scores(np.zeros(request.mask.shape))
        utility = self._policy.scores([query.text for query in request.queries], request.pool)
        drawn = softmax(np.where(request.mask, utility, -np.inf), axis=1) if self.samples else None
        return Scores(utility, drawn, notes=[{"why": WHY}] * len(request))

    def train(self, training: Training) -> Mapping[str, Any]:
        """Train the model on a table of outcomes, at the preference of the training's request.

        Raises:
            ConfigError: The model cannot be loaded, or a library of the extra ``train`` is not installed.
            DataError: No training row has an outcome with a known reward.
        """
        dataset, request = training.dataset, training.request
        if dataset.outcomes is None or request is None:
            raise DataError(f"router-r1-choice learns from outcomes, and {dataset.source} has none; use a dataset with outcomes")
        reward = self.services.reward.scalar(dataset.outcomes, request.preferences)
        rows = np.flatnonzero(np.isfinite(reward).any(axis=1))
        if not len(rows):
            needs = "router-r1-choice needs qualities, and costs where the preference weighs them"
            raise DataError(f"{dataset.source} has no row with a known reward; {needs}")
        if self.config.rows:
            rows = np.random.default_rng(self.services.seed).permutation(rows)[: self.config.rows]
        check_libraries("router-r1-choice")
        from aamc_router_r1.training.choice import train

        self._policy, metrics = train(self.config, self.services, [dataset.queries[row].text for row in rows.tolist()], reward[rows], training)
        return metrics

    def save(self, folder: Path) -> None:
        """Write the model and its tokenizer."""
        if self._policy is not None:
            self._policy.save(folder)

    def load(self, folder: Path) -> None:
        """Read a saved model.

        Raises:
            CheckpointError: A file is missing or damaged.
        """
        check_libraries("router-r1-choice")
        from aamc_router_r1.training.choice import FILES, load

        if missing := [name for name in read_json(folder / FILES) if not (folder / name).is_file()]:
            raise CheckpointError(f"{folder} lacks {missing[0]}; {RESTORE}")
        try:
            self._policy = load(self.config, str(folder), self.services.device)
        except ConfigError as error:
            raise CheckpointError(f"{error}; {RESTORE}") from error
