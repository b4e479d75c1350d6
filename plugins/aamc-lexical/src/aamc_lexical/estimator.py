"""The estimator ``lexical``: words and letters of a text, in a fraction of a millisecond and without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from aamc_lexical.config import LexicalConfig
from aamc_lexical.embedding_estimator import EmbeddingEstimator
from aamc_lexical.text_length import with_length
from aamc_sdk.errors import CheckpointError
from aamc_sdk.interfaces import Progress, Services
from aamc_sdk.types import Estimates, Floats, Query

if TYPE_CHECKING:
    from aamc_lexical.lexicon import Lexicon
    from aamc_lexical.training.cross_fitting import TrainingResult
    from aamc_lexical.training.training_rows import Rows, TrainingRows


class LexicalEstimator(EmbeddingEstimator):
    """Linear heads and quality experts on a lexicon's embedding; thread-safe once it is trained or loaded.

    Before training it gives an embedding of hashed terms, for routers that learn online, and every other estimate is unknown.
    """

    name = "lexical"
    Config = LexicalConfig
    config: LexicalConfig

    def __init__(self, config: LexicalConfig, services: Services) -> None:
        super().__init__(config, services)
        self._lexicon: Lexicon | None = None

    def save(self, folder: Path) -> None:
        """Write the trained parts and the lexicon.

        Raises:
            EstimatesError: The estimator has not been trained.
        """
        super().save(folder)
        self._known_terms().save(folder)

    def load(self, folder: Path) -> None:
        """Read a saved estimator.

        Raises:
            CheckpointError: The checkpoint is missing or damaged.
        """
        from aamc_lexical.lexicon import Lexicon

        lexicon = Lexicon.load(folder)
        super().load(folder)
        if lexicon.fingerprint != self._trained().encoder:
            raise CheckpointError(f"the lexicon in {folder} is not the one that the rest was trained with; train again")
        self._lexicon = lexicon

    def _learn(self, data: TrainingRows) -> TrainingResult:
        """Train the lexicon, then linear heads and, with outcomes, the blend of experts."""
        from aamc_lexical.heads.head_weights import fit_heads
        from aamc_lexical.lexicon import Lexicon
        from aamc_lexical.quality.experts import CategoryExpert, NeighbourExpert
        from aamc_lexical.trained_estimator import TrainedEstimator
        from aamc_lexical.training.cross_fitting import FittedParts, TrainingResult, smoothing_experts, with_lengths, with_quality

        targets, progress = data.targets, data.training.progress
        progress.start("words and quality", 2 + (self.config.folds if targets.candidates else 0))
        lexicon = Lexicon.fit([data.texts[row] for row in data.rows], self.config)
        text_length = data.text_length(self.config.max_characters)
        embedding = with_length(lexicon(data.texts), data.texts, text_length)
        progress.advance()

        def fit(rows: Rows, _: str) -> FittedParts:
            known, own = targets.take(rows), embedding[rows]
            heads = fit_heads(own, known)
            experts = smoothing_experts(self.config, own, known, heads, data.seed)
            progress.advance()
            return FittedParts(heads, experts, lambda wanted: embedding[wanted])

        fitted = fit(data.rows, "all rows")
        learned = TrainedEstimator(encoder=lexicon.fingerprint, heads=fitted.heads, category_names=targets.category_names, text_length=text_length)
        result = TrainingResult(learned, fitted.curve)
        if targets.candidates:
            measured_by = [kind for kind in (NeighbourExpert.kind, CategoryExpert.kind) if kind in fitted.experts]
            result = with_quality(learned, fitted, data, self.config.folds, fit, lexicon, measured_by)
        result = with_lengths(result, data, self.config.folds, fitted.embed)
        self._lexicon = lexicon
        return result

    def _estimate(self, queries: Sequence[Query], progress: Progress) -> Estimates:
        if self._learned is not None:
            return super()._estimate(queries, progress)
        from aamc_lexical.lexicon import hashed_embedding, hashed_fingerprint

        embedding = hashed_embedding([query.text for query in queries], self.config)
        return attrs.evolve(Estimates.unknown(len(queries)), embedding=embedding, fingerprint=f"{self.name}:{hashed_fingerprint(self.config)}")

    def _encode(self, texts: Sequence[str], progress: Progress | None = None) -> Floats:
        return self._known_terms()(texts)

    def _known_terms(self) -> Lexicon:
        self._trained()
        assert self._lexicon is not None  # training and loading set it
        return self._lexicon
