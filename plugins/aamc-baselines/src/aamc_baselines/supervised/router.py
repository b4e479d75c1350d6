"""The router ``supervised``: the candidate that a classifier ranks first, with the preference as part of its input.

A decision needs numpy only; training is :mod:`aamc_baselines.supervised.training`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from aamc_baselines.supervised.classifier import Classifier, Options, logits
from aamc_sdk import Requirements
from aamc_sdk.errors import CheckpointError, EstimatesError
from aamc_sdk.interfaces import Router, Services, Training
from aamc_sdk.storage import read_arrays, write_arrays
from aamc_sdk.types import RoutingRequest, Scores

FILE = "classifier.npz"


class Supervised(Router):
    """Chooses the candidate that the classifier ranks first; unseen candidates rank last."""

    Config = Options
    requires = Requirements(outcomes=True, comparisons=True, training=True, cheap_rescoring=True)

    def __init__(self, config: Any, services: Services) -> None:
        super().__init__(config, services)
        self.classifier: Classifier | None = None

    def train(self, training: Training) -> dict[str, Any]:
        """Fit the classifier on a table of outcomes.

        Raises:
            DataError: The training data has no outcomes.
        """
        from aamc_baselines.supervised.training import accuracy, fit

        self.classifier = fit(training, self.config, self.services)
        return accuracy(self.classifier, training, self.config, self.services)

    def score(self, request: RoutingRequest) -> Scores:
        """Return each candidate's logit of being the best.

        Raises:
            EstimatesError: The router was not trained, or the embedding has another width than in training.
        """
        if self.classifier is None:
            raise EstimatesError("supervised is not trained; train it first (aamc train --router supervised) or give a run that has it")
        return Scores(logits(self.classifier, request))

    def save(self, folder: Path) -> None:
        """Write the classifier, if there is one."""
        if self.classifier is not None:
            write_arrays(folder / FILE, attrs.asdict(self.classifier, recurse=False))

    def load(self, folder: Path) -> None:
        """Read the classifier.

        Raises:
            CheckpointError: The file is missing or damaged.
        """
        saved = read_arrays(folder / FILE)
        try:
            self.classifier = Classifier(**saved)
        except TypeError as error:
            raise CheckpointError(f"{folder / FILE} does not hold a classifier ({error}); train again") from error
