"""Embeddings of descriptions, queries and contexts, reduced to one space of d numbers.

    reduced(e) = scale_k (e - centre_k) basis,  k one of description, query, context                                 (1)

``basis`` holds the first right singular vectors of the training texts' centred embeddings, with descriptions and queries of equal total
weight; it is the identity where the embeddings have at most d numbers. Each kind has a variance of 1 per number in the training texts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import attrs
import numpy as np

from aamc_sdk.errors import DataError
from aamc_sdk.routing import hash_terms
from aamc_sdk.types import Floats

Embed = Callable[[Sequence[str]], Floats]
KINDS = ("description", "query", "context")
HASHED_WIDTH = 64
"""Width of the embeddings that replace an estimator's where there is none."""
_MIN_LENGTH = 1e-9


def hashed_words(texts: Sequence[str]) -> Floats:
    """Return hashed words and character trigrams, ``[N, 64]``, each of length one or zero."""
    vectors = np.array([hash_terms(_parts(text), HASHED_WIDTH) for text in texts]).reshape(-1, HASHED_WIDTH)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(length > 0, length, 1.0))


def _parts(text: str) -> Counter[str]:
    words: list[str] = re.findall(r"\w+", text.lower())
    return Counter([*words, *(f"#{word[start : start + 3]}" for word in words for start in range(len(word) - 2))])


@attrs.frozen(eq=False)
class Reduction:
    """The map of equation (1) from embeddings of width D to d numbers.

    Attributes:
        centres: Mean embedding by kind, ``[3, D]``.
        scales: Factor by kind, ``[3]``.
        basis: ``[D, d]``.
    """

    centres: Floats
    scales: Floats
    basis: Floats

    @classmethod
    def fitted(cls, embeddings: Mapping[str, Floats], dimensions: int) -> Reduction:
        """Return the reduction of training embeddings ``[N, D]`` by kind; descriptions are required, the other kinds may be missing."""
        width = embeddings["description"].shape[1]
        rows = {kind: np.asarray(embeddings.get(kind, np.empty((0, width))), dtype=np.float64) for kind in KINDS}
        rows = {kind: found[np.isfinite(found).all(axis=1)] for kind, found in rows.items()}
        centres = np.stack([found.mean(axis=0) if len(found) else np.zeros(width) for found in rows.values()])
        parts = [found - centre for found, centre in zip(rows.values(), centres, strict=True)]
        basis = np.eye(width)
        if width > dimensions:
            equal = np.concatenate([part / max(float(np.linalg.norm(part)), _MIN_LENGTH) for part in parts[:2]])
            basis = np.linalg.svd(equal, full_matrices=False)[2][:dimensions].T
        lengths = [float(np.sqrt(np.mean((part @ basis) ** 2))) if len(part) > 1 else 0.0 for part in parts]
        own = lengths[0] if lengths[0] > _MIN_LENGTH else 1.0
        return cls(centres, np.array([1 / (length if length > _MIN_LENGTH else own) for length in lengths]), basis)

    @property
    def width(self) -> int:
        """Width of the embeddings, D."""
        return int(self.basis.shape[0])

    def __call__(self, kind: str, embedding: Floats) -> Floats:
        """Return reduced embeddings ``[N, d]``; zeros for missing ones and for those of another width. Each row is the same in any batch."""
        if embedding.shape[1] != self.width:
            return np.zeros((len(embedding), self.basis.shape[1]))
        k = KINDS.index(kind)
        centred = np.asarray(embedding, dtype=np.float64) - self.centres[k]
        reduced = np.stack([row @ self.basis for row in centred])
        return np.asarray(np.nan_to_num(self.scales[k] * reduced))


def required(estimator: Callable[[Sequence[str]], Floats | None]) -> Embed:
    """Return an estimator's ``embed`` as a function that raises :class:`DataError` where the estimator returns no embeddings."""

    def embed(texts: Sequence[str]) -> Floats:
        found = estimator(list(texts))
        if found is None or len(found) != len(texts):
            raise DataError("the estimator returned no embedding for a text; gmtrouter was trained with an estimator that embeds texts")
        return np.asarray(found, dtype=np.float64)

    return embed
