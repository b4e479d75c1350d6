"""How much of the blend is to be trusted: near the questions that it learned from, and away from them.

A blended prediction is the candidates' means, plus how much better or worse all of them are expected to do on this
question (the level), plus what sets the candidates apart on it (the contrast):

    q_im = mean_m + l_i + c_im,    l_i = the mean over m of (q_im - mean_m)

Outcomes of questions that were left out are regressed on both, y_im - mean_m = a l_i + b c_im. If the blend holds, a and b
are one; if it found nothing but luck, they are zero. What counts is the lower end of their 95% intervals, whose errors are
robust to a question's outcomes going together. This is done twice: for parts of the rows drawn at random, which have
questions like them among the others, and for groups of like questions, which have none. In between, by the distance
from the nearest cluster's centre, trust is interpolated; as far again beyond the groups it ends.

Papers: Cox 1958, "Two Further Applications of a Model for Binary Regression" (the slope of outcomes on predictions);
Copas 1983, "Regression, Prediction and Shrinkage"; Liang & Zeger 1986 (the errors).
"""

from __future__ import annotations

import attrs
import numpy as np

from aamc_sdk.batch import Floats

STANDARD_ERRORS = 1.96
"""How many standard errors below its estimate a slope is taken."""
MIN_TRUST = 0.05
"""Trust never ends altogether: where two candidates are ranked, even a doubtful order is the best there is."""
NEAR, FAR = 0.90, 0.99
"""Up to the first share of distances in random parts a question is near, and only beyond the second one far."""


def level_and_contrast(values: Floats) -> tuple[Floats, Floats]:
    """Return what ``[..., M]`` values have in common, the mean of each row, and what sets them apart; each ``[..., M]``."""
    level = np.broadcast_to(values.mean(axis=-1, keepdims=True), values.shape)
    return level, values - level


@attrs.frozen(eq=False)
class HeldOutPredictions:
    """What was predicted of N questions that were left out, and what came of them.

    Attributes:
        prediction: Of the blend, ``[N, M]``.
        means: The candidates' means without the question, ``[N, M]``.
        quality: What came of it, ``[N, M]``, NaN where unknown.
        distance: From the nearest cluster of what was not left out, ``[N]``.
    """

    prediction: Floats
    means: Floats
    quality: Floats
    distance: Floats

    def certain_slopes(self) -> Floats:
        """Return how much of level and contrast surely holds, ``[2]``, from ``LEAST`` to 1."""
        known = np.isfinite(self.quality)
        parts = np.where(known[..., None], np.stack(level_and_contrast(self.prediction - self.means), axis=-1), 0.0)
        target = np.where(known, self.quality - self.means, 0.0)
        inverse = np.linalg.pinv(np.einsum("nmk,nml->kl", parts, parts))
        slopes = inverse @ np.einsum("nmk,nm->k", parts, target)
        influence = np.einsum("nmk,nm->nk", parts, target - parts @ slopes) @ inverse  # of each question on the slopes
        errors = np.linalg.norm(influence, axis=0)
        return np.asarray(np.clip(slopes - STANDARD_ERRORS * errors, MIN_TRUST, 1.0))


@attrs.frozen(eq=False)
class Trust:
    """What level and contrast count for, by distance.

    Attributes:
        distances: Where questions cease to be near, where they are as far as a group that was left out, and as far again, ``[3]``.
        slopes: Of level and contrast there, ``[3, 2]``.
    """

    distances: Floats
    slopes: Floats

    @classmethod
    def fit(cls, near: HeldOutPredictions, far: HeldOutPredictions | None) -> Trust:
        """Measure it.

        Args:
            near: Of parts that were left out at random.
            far: Of groups that were left out; None where embeddings cannot tell near from far.
        """
        slopes = near.certain_slopes()
        if far is None:
            return cls(np.arange(3.0), np.tile(slopes, (3, 1)))
        begin, end = np.quantile(near.distance, (NEAR, FAR))
        end = max(end, float(np.median(far.distance)))
        return cls(np.array((begin, end, 2 * end - begin)), np.stack((slopes, np.minimum(far.certain_slopes(), slopes), np.full(2, MIN_TRUST))))

    def __call__(self, prediction: Floats, means: Floats, distance: Floats) -> Floats:
        """Return predictions ``[B, M]`` with level and contrast shrunken as befits their distance ``[B]``, within 0 and 1."""
        level, contrast = level_and_contrast(prediction - means)
        counts = [np.interp(distance, self.distances, slopes)[:, None] for slopes in self.slopes.T]
        return np.asarray(np.clip(means + counts[0] * level + counts[1] * contrast, 0.0, 1.0))
