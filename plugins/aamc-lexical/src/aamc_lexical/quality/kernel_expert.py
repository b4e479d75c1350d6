r"""Experts that correct the categories' means by kernel ridge regression on their residuals.

For unit embeddings :math:`u`, landmarks :math:`l` and the median squared distance :math:`\rho` between landmarks,

.. math:: \hat q_m(u) = b_m(u) + \sum_l w_{lm} k(u, l), \qquad k(u, l) = \exp(-\lVert u - l \rVert^2 / (s \rho))

where :math:`w` minimises the squared errors plus :math:`\lambda w^\top K w`, with the kernel K of the landmarks and the noise :math:`\lambda`,
and :math:`b` is the prediction of the categories, or the candidate's mean without categories. The correction fades away from the training rows.
Two widths suit different numbers of rows. Landmarks are a sample of the training rows (Nyström: Williams & Seeger 2001), which bounds the time
of a prediction. N training rows, L landmarks, B queries, M candidates, D features.
"""

from __future__ import annotations

from typing import ClassVar

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_lexical.quality.experts import CategoryExpert, candidate_means, in_batches
from aamc_lexical.quality.smoothing import least_squares, unit_rows
from aamc_sdk.types import Floats

MAX_LANDMARKS = 1000
MIN_WIDTH = 1e-6
"""The minimum squared width, for training texts that are all alike."""
JITTER = 1e-3
"""Added to the diagonal of the system of equations, which equal landmarks would make singular."""


@attrs.frozen(eq=False)
class KernelExpert:
    """The categories' means, or without categories the candidates' means, plus a kernel ridge regression on their residuals.

    Attributes:
        landmarks: Unit rows, ``[L, D]``.
        coefficients: The weights of the landmarks, ``[L, M]``.
        width: The squared width of the kernel, ``[]``.
        means: The candidates' means, ``[M]``.
        categories: Predicts the base; None without categories.
    """

    kind: ClassVar[str]
    scale: ClassVar[float]
    """The squared width in medians of the squared distance between training rows."""
    noise: ClassVar[float]
    """The variance of an outcome's noise relative to that of the correction."""
    landmarks: NDArray[np.float32]
    coefficients: NDArray[np.float32]
    width: NDArray[np.float64]
    means: Floats
    categories: CategoryExpert | None = None

    @classmethod
    def fit(cls, embedding: Floats, quality: Floats, categories: CategoryExpert | None, seed: int) -> KernelExpert:
        """Fit the correction to N rows."""
        rows = unit_rows(embedding).astype(np.float32)
        landmarks = rows[np.sort(np.random.default_rng(seed).permutation(len(rows))[:MAX_LANDMARKS])]
        width = cls.scale * float(np.median(_squared_distances(landmarks, landmarks)))
        no_correction = np.zeros((len(landmarks), quality.shape[1]), np.float32)
        bare = cls(landmarks, no_correction, np.array(max(width, MIN_WIDTH)), candidate_means(quality), categories)
        penalty = cls.noise * bare._kernel(landmarks).astype(np.float64) + JITTER * np.eye(len(landmarks))
        coefficients = least_squares(bare._kernel(rows), quality - bare._base(embedding), penalty)
        return attrs.evolve(bare, coefficients=coefficients.astype(np.float32))

    def __call__(self, embedding: Floats) -> Floats:
        """Return expected quality ``[B, M]``."""
        return np.asarray(self._base(embedding) + in_batches(embedding, lambda rows: self._kernel(rows) @ self.coefficients))

    def _base(self, embedding: Floats) -> Floats:
        return np.tile(self.means, (len(embedding), 1)) if self.categories is None else self.categories(embedding)

    def _kernel(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the kernel of unit rows and landmarks, ``[B, L]``."""
        return np.asarray(np.exp(_squared_distances(rows, self.landmarks) / np.float32(-self.width)))


@attrs.frozen(eq=False)
class BroadExpert(KernelExpert):
    """A smooth correction, the better one for hundreds of rows."""

    kind: ClassVar[str] = "broad"
    scale: ClassVar[float] = 0.5
    noise: ClassVar[float] = 4.0


@attrs.frozen(eq=False)
class LocalExpert(KernelExpert):
    """A correction by similar rows, the better one for thousands of rows."""

    kind: ClassVar[str] = "local"
    scale: ClassVar[float] = 0.25
    noise: ClassVar[float] = 8.0


def _squared_distances(rows: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the squared distances of unit rows, ``[B, L]``."""
    return np.asarray(np.maximum(2 - 2 * (rows @ others.T), 0))
