"""The options of whatever learns from embeddings."""

from __future__ import annotations

import attrs

from aamc_sdk import option


@attrs.frozen(kw_only=True)
class LearningConfig:
    """How each candidate's quality is learned from an embedding."""

    max_train_texts: int = option(0, "Most training texts that are used, drawn by the seed; 0 is all.", at_least=0)
    folds: int = option(5, "Parts of the training rows for out-of-fold quality; each costs a training.", at_least=2)
    neighbours: int = option(100, "Training texts that count as near.", at_least=1)
    clusters: int = option(32, "Groups of training texts.", at_least=1)
