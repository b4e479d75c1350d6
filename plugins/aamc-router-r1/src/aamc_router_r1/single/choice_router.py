"""Router ``router-r1-choice``: the probability with which a language model writes each candidate's name as its first consultation.

The model reads the prompt of Router-R1, and its turn is begun for it up to the name: a fixed thought, then ``<search>``. So every candidate has an
exact probability, nothing can be malformed, and a table of outcomes suffices to train it. Torch is imported by ``train`` and ``load``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import softmax  # type: ignore[import-untyped]  # scipy ships no types

from aamc_router_r1.config import ChoiceOptions
from aamc_router_r1.training.job import check_libraries
from aamc_sdk import Requirements, Router, RoutingRequest, Scores, Services, Training
from aamc_sdk.errors import CheckpointError, ConfigError, PluginError
from aamc_sdk.storage import RESTORE, read_json

if TYPE_CHECKING:
    from aamc_router_r1.single.choice_policy import ChoicePolicy

WHY = "A language model read the text and the candidates' descriptions. It uses the preference that it was trained with, not the request's."
"""The note of each decision."""


class ChoiceRouter(Router):
    """Scores candidates by a language model's probability of naming them; thread-safe."""

    Config = ChoiceOptions
    config: ChoiceOptions
    requires = Requirements(outcomes=True, comparisons=True, text=True, training=True)
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
            ConfigError: The model cannot be used, or a library of the extra ``train`` is not installed.
            DataError: No training row has an outcome with a known reward.
        """
        rows, reward = training.known_rewards(self.services.reward, "router-r1-choice")
        if self.config.rows:
            rows = np.random.default_rng(self.services.seed).permutation(rows)[: self.config.rows]
        check_libraries("training router-r1-choice")
        from aamc_router_r1.training.choice_training import train

        texts = [training.dataset.queries[row].text for row in rows.tolist()]
        self._policy, metrics = train(self.config, self.services, texts, reward[rows], training)
        return metrics

    def save(self, folder: Path) -> None:
        """Write the model and its tokenizer."""
        if self._policy is not None:
            self._policy.save(folder)

    def load(self, folder: Path) -> None:
        """Read a saved model.

        Raises:
            CheckpointError: A file is missing or damaged.
            ConfigError: torch or transformers is not installed, or the installed version does not compute the model as needed.
        """
        check_libraries("router-r1-choice", ("torch", "transformers"))
        from aamc_router_r1.single.choice_policy import FILES, ChoicePolicy
        from aamc_router_r1.training.stages import load_model

        if missing := [name for name in read_json(folder / FILES) if not (folder / name).is_file()]:
            raise CheckpointError(f"{folder} lacks {missing[0]}; {RESTORE}")
        try:
            policy = ChoicePolicy(self.config, *load_model(str(folder), self.services.device))
        except ConfigError as error:
            raise CheckpointError(f"{error}; {RESTORE}") from error
        policy.check()
        self._policy = policy
