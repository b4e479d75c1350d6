"""The options of whatever learns from embeddings, and of the estimator ``lexical``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs

from aamc_sdk import option


@attrs.frozen(kw_only=True)
class LearningConfig:
    """How each candidate's quality is learned from an embedding."""

    max_train_texts: int = option(0, "Most training texts that are used, drawn by the seed; 0 is all.", at_least=0)
    folds: int = option(5, "Parts of the training rows for out-of-fold quality, at random and then by likeness; each costs a training.", at_least=2)
    neighbours: int = option(100, "Training texts that count as near.", at_least=1)
    clusters: int = option(32, "Groups of training texts.", at_least=1)


@attrs.frozen(kw_only=True)
class LexicalConfig(LearningConfig):
    """Options of the estimator ``lexical``."""

    word_run: int = option(2, "Most words and signs that make a term; 0 leaves words out.", at_least=0)
    character_run: int = option(3, "Characters of a piece of a word that makes a term; 0 leaves pieces out.", at_least=0)
    max_terms: int = option(30_000, "Terms that are kept, of words and of pieces each: those that stand in the most texts.", at_least=1)
    dimensions: int = option(256, "Directions in which texts are compared.", at_least=1)
    max_characters: int = option(2000, "Characters of a text that are read.", at_least=1)

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {"max_train_texts": 3000}, "full": {}}
