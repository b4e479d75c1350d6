"""The length of a text as a feature, appended to its embedding.

An estimator reads only the two ends of a long text, so its embedding does not show the length. The feature is used where at least one training
text in a hundred is longer than the part that is read; with fewer its effect cannot be learned, and the embedding stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.types import Floats

MIN_LONG_SHARE = 0.01
"""Minimum share of training texts that are longer than the part that is read."""


@attrs.frozen(eq=False)
class LengthFeature:
    """The logarithm of a text's characters beyond those read, relative to them: 0 for a text that is read whole.

    Attributes:
        characters: The number of characters that are read, ``[]``.
        scale: The root mean square over the long training texts, ``[]``.
    """

    characters: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def fit(cls, texts: Sequence[str], characters: int) -> LengthFeature | None:
        """Return the feature for training texts of which ``characters`` are read; None if too few are longer."""
        bare = cls(np.array(float(characters)), np.array(1.0))
        values = bare.values(texts)
        long = values > 0
        if long.sum() < max(MIN_LONG_SHARE * len(texts), 1):
            return None
        return attrs.evolve(bare, scale=np.sqrt(np.mean(values[long] ** 2)))

    def values(self, texts: Sequence[str]) -> Floats:
        """Return the feature of each text, ``[B]``."""
        lengths = np.array([len(text) for text in texts], dtype=np.float64)
        return np.asarray(np.log(np.maximum(lengths / self.characters, 1.0)) / self.scale)


def with_length(embedding: Floats, texts: Sequence[str], length: LengthFeature | None) -> Floats:
    """Return the embeddings ``[B, D]`` of texts; with a length feature it is one more number, ``[B, D + 1]``."""
    return embedding if length is None else np.column_stack((embedding, length.values(texts).astype(embedding.dtype)))
