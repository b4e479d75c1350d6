"""Untrained text embeddings by feature hashing.

Each term adds its weight, with a sign, at the index that its hash gives. The expected product of two embeddings is that of their
terms' weights (Weinberger et al. 2009, "Feature Hashing for Large Scale Multitask Learning", ICML).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aamc_lexical.config import LexicalConfig
from aamc_lexical.embeddings.lexicon import TermExtractor, character_terms, read_text, word_terms
from aamc_sdk.routing import hash_terms


def hashed_embedding(texts: Sequence[str], config: LexicalConfig) -> NDArray[np.float32]:
    """Return the embeddings ``[B, dimensions]`` of B texts: the sum of the unit-length embeddings of words and of pieces."""
    views = TermExtractor(word_terms, config.word_run), TermExtractor(character_terms, config.character_run)
    read = [read_text(text, config.max_characters) for text in texts]
    return np.array([sum(_of_view(view, text, config.dimensions) for view in views) for text in read], np.float32).reshape(-1, config.dimensions)


def fingerprint(config: LexicalConfig) -> str:
    """Return a name of everything except the text that these embeddings depend on."""
    return f"hashed-{config.word_run}-{config.character_run}-{config.dimensions}-{config.max_characters}"


def _of_view(view: TermExtractor, text: str, dimensions: int) -> NDArray[np.float64]:
    embedding = hash_terms({term: 1 + np.log(count) for term, count in Counter(view.terms(text)).items()}, dimensions)
    return np.asarray(embedding / max(float(np.linalg.norm(embedding)), 1e-12))
