"""The options of the estimator ``lexical``, and those that it shares with ``tce``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs

from aamc_sdk import option


@attrs.frozen(kw_only=True)
class LearningConfig:
    """Options of estimators that learn each candidate's quality from an embedding."""

    max_train_texts: int = option(0, "Maximum number of training texts, sampled with the seed; 0 means all.", at_least=0)
    folds: int = option(5, "Number of folds for out-of-fold quality, and of groups of similar texts; each needs one training.", at_least=2)
    neighbours: int = option(100, "Number of nearest training texts.", at_least=1)
    clusters: int = option(32, "Number of clusters of training texts.", at_least=1)


@attrs.frozen(kw_only=True)
class LexicalConfig(LearningConfig):
    """Options of the estimator ``lexical``."""

    word_run: int = option(2, "Maximum words and signs in a term; 0 uses no words.", at_least=0)
    character_run: int = option(3, "Characters in a term that is a piece of a word; 0 uses no pieces.", at_least=0)
    max_terms: int = option(30_000, "Maximum number of terms, of words and of pieces each; the most frequent are kept.", at_least=1)
    dimensions: int = option(256, "Dimensions of the embedding.", at_least=1)
    max_characters: int = option(2000, "Maximum characters read from a text; of a longer one, half from the start and half from the end.", at_least=1)

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {"max_train_texts": 3000}, "full": {}}
