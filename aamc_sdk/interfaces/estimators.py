"""Estimators, which describe queries."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any

from aamc_sdk.interfaces.components import BaseComponent
from aamc_sdk.interfaces.training import Training
from aamc_sdk.types import AnswerLengths, Estimates, Floats, Pool, Query


class Estimator(BaseComponent):
    """Describes queries; after training on outcomes, also predicts each candidate's quality."""

    @abc.abstractmethod
    def estimate(self, queries: Sequence[Query]) -> Estimates:
        """Describe B queries."""

    def embed(self, texts: Sequence[str]) -> Floats | None:
        """Return embeddings ``[N, D]`` of texts, such as candidates' descriptions; None if the estimator has none."""
        return None

    def quality(self, estimates: Estimates, pool: Pool) -> Floats | None:
        """Return the expected quality ``[B, M]`` for any pool; None if not trained on outcomes."""
        return None

    def answer_lengths(self, estimates: Estimates, pool: Pool) -> AnswerLengths | None:
        """Return the expected lengths of the answers for any pool; None if not trained on lengths."""
        return None

    def out_of_fold_lengths(self, pool: Pool) -> AnswerLengths | None:
        """Return the expected lengths of each training row's answers, from models that were not fitted on it."""
        return None

    def out_of_fold(self) -> Floats | None:
        """Return the expected quality ``[B, M]`` of each training row, from models that were not fitted on it.

        Routers train on it. Without it (None) they train on what :meth:`quality` predicts of the training rows, and trust the estimator too much.
        """
        return None

    def train(self, training: Training) -> Mapping[str, Any]:
        """Train the estimator; return metrics. Heads without labels stay untrained."""
        return {}
