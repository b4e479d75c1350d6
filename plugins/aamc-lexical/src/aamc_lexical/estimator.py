"""The estimator ``lexical``: words and letters of a text, in a fraction of a millisecond and without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from aamc_lexical.config import LexicalConfig
from aamc_lexical.embedding_estimator import EmbeddingEstimator
from aamc_sdk.errors import CheckpointError
from aamc_sdk.interfaces import Progress, Services
from aamc_sdk.types import Estimates, Floats, Pool, Query

if TYPE_CHECKING:
    from aamc_lexical.embeddings.lexicon import Lexicon
    from aamc_lexical.training.cross_fitting import TrainingResult
    from aamc_lexical.training.training_rows import TrainingRows


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

    def quality(self, estimates: Estimates, pool: Pool) -> Floats | None:
        """Return the expected quality ``[B, M]`` of any pool; None if training had no outcomes.

        Raises:
            EstimatesError: The estimates come from another estimator.
        """
        return None if self._learned is None else super().quality(estimates, pool)

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
        from aamc_lexical.embeddings.lexicon import Lexicon

        lexicon = Lexicon.load(folder)
        super().load(folder)
        if lexicon.fingerprint != self._trained().encoder:
            raise CheckpointError(f"the lexicon in {folder} is not the one that the rest was trained with; train again")
        self._lexicon = lexicon

    def _learn(self, data: TrainingRows) -> TrainingResult:
        from aamc_lexical.training.lexical_training import train_lexical

        result, self._lexicon = train_lexical(self.config, data)
        return result

    def _estimate(self, queries: Sequence[Query], progress: Progress) -> Estimates:
        if self._learned is not None:
            return super()._estimate(queries, progress)
        from aamc_lexical.embeddings.feature_hashing import fingerprint, hashed_embedding

        embedding = hashed_embedding([query.text for query in queries], self.config)
        return attrs.evolve(Estimates.unknown(len(queries)), embedding=embedding, fingerprint=f"{self.name}:{fingerprint(self.config)}")

    def _embed(self, texts: Sequence[str], progress: Progress) -> Floats:
        return self._known_terms()(texts)

    def _describe(self, pool: Pool) -> Floats:
        from aamc_lexical.training.cross_fitting import embed_descriptions

        return embed_descriptions(pool, self._known_terms())

    def _known_terms(self) -> Lexicon:
        self._trained()
        assert self._lexicon is not None  # training and loading set it
        return self._lexicon
