"""Shrinkage of the blend by its measured reliability, near the training questions and away from them.

A blended prediction is the sum of the candidates' means, the level (the common deviation of all candidates on a question) and the
contrast (the deviations of single candidates):

    q_im = mean_m + l_i + c_im,    l_i = the mean over m of (q_im - mean_m)

Held-out outcomes are regressed on both, y_im - mean_m = a l_i + b c_im. The slopes a and b are one if the blend is calibrated and zero
if it is noise. The lower ends of their 95% intervals are used, with standard errors clustered by question, near-duplicates together. Slopes are
measured twice: near, with random folds, and far, with held-out groups of similar questions. In between they are interpolated by the distance from
the nearest cluster centre; at twice the far distance they reach their minimum.

An embedding of words shows an unfamiliar text otherwise: few of its terms are known, so it lies near the centre of all texts and near the
clusters. There two distances count: one minus the mean cosine to the nearest training rows, and the entropy of the predicted category. With
either, the slopes fall to zero between two quantiles of the folds' distances, since groups of similar questions do not stand for another subject.

Papers: Cox 1958, "Two Further Applications of a Model for Binary Regression" (the slope of outcomes on predictions);
Copas 1983, "Regression, Prediction and Shrinkage"; Liang & Zeger 1986 (the errors).
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.types import Floats

STANDARD_ERRORS = 1.96
"""Standard errors between the estimate of a slope and the value used."""
MIN_SLOPE = 0.05
"""The minimum slope of a measured one, above zero so that an unreliable prediction still ranks the candidates."""
NEAR, FAR = 0.90, 0.99
"""Quantiles of the folds' distances: a question is near up to the first and far beyond the second."""
FAMILIAR = {"neighbours": (0.70, 0.80), "categories": (0.80, 0.95)}
"""Quantiles of the folds' distances by the expert that measures them: questions up to the first are trusted as measured, and beyond the second
not at all. Cosines between training texts, whose words are all known, are lower than those of other texts, hence the earlier quantiles."""
MIN_ENDS = (0.05, 0.1)
"""Minimum ends of near and of trust, in 1 - cosine or nats: quantiles of texts that are alike but for a number differ by rounding alone."""


def level_and_contrast(values: Floats) -> tuple[Floats, Floats]:
    """Return the mean of each row of ``[..., M]`` values and the deviations from it, ``[..., M]`` each."""
    level = np.broadcast_to(values.mean(axis=-1, keepdims=True), values.shape)
    return level, values - level


@attrs.frozen(eq=False)
class HeldOutPredictions:
    """Predictions of N held-out questions and their outcomes.

    Attributes:
        prediction: Predictions of the blend, ``[N, M]``.
        means: The candidates' means without the question's fold, ``[N, M]``.
        quality: The outcomes, ``[N, M]``, NaN where unknown.
        distance: S distances from the rows of the other folds, ``[N, S]``.
        group: The number of each question's group of near-duplicates, whose outcomes are not independent, ``[N]``; by default its own.
    """

    prediction: Floats
    means: Floats
    quality: Floats
    distance: Floats
    group: NDArray[np.intp] = attrs.field(default=attrs.Factory(lambda self: np.arange(len(self.quality)), takes_self=True))

    def certain_slopes(self) -> Floats:
        """Return the lower confidence bounds of the slopes of level and contrast, ``[2]``, from ``MIN_SLOPE`` to 1."""
        known = np.isfinite(self.quality)
        parts = np.where(known[..., None], np.stack(level_and_contrast(self.prediction - self.means), axis=-1), 0.0)
        target = np.where(known, self.quality - self.means, 0.0)
        inverse = np.linalg.pinv(np.einsum("nmk,nml->kl", parts, parts))
        slopes = inverse @ np.einsum("nmk,nm->k", parts, target)
        influence = np.einsum("nmk,nm->nk", parts, target - parts @ slopes) @ inverse  # the influence of each question on the slopes
        groups, group = np.unique(self.group, return_inverse=True)
        by_group = np.zeros((len(groups), 2))
        np.add.at(by_group, group.ravel(), influence)
        errors = np.linalg.norm(by_group, axis=0)
        return np.asarray(np.clip(slopes - STANDARD_ERRORS * errors, MIN_SLOPE, 1.0))


@attrs.frozen(eq=False)
class DistanceShrinkage:
    """The slopes of level and contrast by distance; of several distances, the one with the smallest slope counts.

    Attributes:
        distances: Increasing values of each distance, ``[S, K]``: the end of near, then that of held-out groups if they are measured, then the
            end of trust.
        slopes: The slopes of level and contrast at these values, ``[K, 2]``, decreasing; linear between them.
    """

    distances: Floats
    slopes: Floats

    @classmethod
    def fit(cls, near: HeldOutPredictions, far: HeldOutPredictions | None) -> DistanceShrinkage:
        """Measure the slopes, given predictions of random folds and of held-out groups; None for the latter if distances are not available."""
        slopes = near.certain_slopes()
        if far is None:
            return cls(np.arange(3.0)[None], np.tile(slopes, (3, 1)))
        begin, end = np.quantile(near.distance, (NEAR, FAR))
        end = max(end, float(np.median(far.distance)))
        return cls(np.array(((begin, end, 2 * end - begin),)), np.stack((slopes, np.minimum(far.certain_slopes(), slopes), np.full(2, MIN_SLOPE))))

    @classmethod
    def of_familiar(cls, near: HeldOutPredictions, measured_by: Sequence[str]) -> DistanceShrinkage:
        """Measure the slopes on random folds, and let them fall to zero where few held-out questions are.

        ``measured_by`` are the kinds of the experts that measure the distances.
        """
        ends = np.array([np.quantile(distance, FAMILIAR[kind]) for distance, kind in zip(near.distance.T, measured_by, strict=True)])
        ends = np.maximum(ends, MIN_ENDS)
        ends[:, 1] = np.maximum(ends[:, 1], np.nextafter(ends[:, 0], np.inf))
        return cls(ends, np.stack((near.certain_slopes(), np.zeros(2))))

    def __call__(self, prediction: Floats, means: Floats, distance: Floats) -> Floats:
        """Return predictions ``[B, M]``, within 0 and 1, with level and contrast shrunken by their distances ``[B, S]``."""
        level, contrast = level_and_contrast(prediction - means)
        by_distance = zip(distance.T, self.distances, strict=True)
        counts = np.min([[np.interp(measured, ends, slopes) for slopes in self.slopes.T] for measured, ends in by_distance], axis=0)[..., None]
        return np.asarray(np.clip(means + counts[0] * level + counts[1] * contrast, 0.0, 1.0))
