"""How the expected quality is learned: experts on all rows, and their blend by cross-fitting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_lexical.config import LearningConfig
from aamc_lexical.heads.head_weights import HeadWeights
from aamc_lexical.heads.targets import Targets
from aamc_lexical.quality.blend import Blend, blend_weights, blended, blended_by_others, distance
from aamc_lexical.quality.candidate_similarity import CandidateSimilarity, log_prices
from aamc_lexical.quality.experts import ClusterExpert, Expert, NeighbourExpert, RidgeExpert, candidate_means
from aamc_lexical.quality.folds import fold_of, merge_questions
from aamc_lexical.quality.trust import HeldOutPredictions, Trust
from aamc_lexical.trained_estimator import TrainedEstimator
from aamc_lexical.training.training_rows import Rows, TrainingRows
from aamc_sdk.batch import Floats
from aamc_sdk.types import Pool


@attrs.frozen(eq=False)
class FittedParts:
    """What came of fitting some rows.

    Attributes:
        heads: What they say of a query.
        experts: Of quality, by kind; none without outcomes. They know only these rows.
        embed: Returns the embedding that both read, of any training rows.
        curve: Of the heads' training, by epoch.
    """

    heads: HeadWeights
    experts: Mapping[str, Expert]
    embed: Callable[[Rows], Floats]
    curve: list[dict[str, float]] = attrs.field(factory=list)


FitRows = Callable[[Rows, str], FittedParts]
"""Fits some rows; the name is what the user is shown."""


@attrs.frozen(eq=False)
class TrainingResult:
    """What came of learning.

    Attributes:
        learned: What estimates are made from.
        curve: Of the heads' training, by epoch.
        out_of_fold: Each training row's quality from parts that were not fitted on it, ``[N, M]``; None without outcomes.
    """

    learned: TrainedEstimator
    curve: list[dict[str, float]]
    out_of_fold: Floats | None = None


def smoothing_experts(config: LearningConfig, embedding: Floats, targets: Targets, seed: int) -> dict[str, Expert]:
    """Return the experts that need nothing but embeddings ``[N, D]`` that have not seen the outcomes."""
    return {
        NeighbourExpert.kind: NeighbourExpert.fit(embedding, targets.quality, config.neighbours),
        ClusterExpert.kind: ClusterExpert.fit(embedding, targets.quality, config.clusters, seed),
        RidgeExpert.kind: RidgeExpert.fit(embedding, targets.quality),
    }


def with_quality(
    learned: TrainedEstimator,
    fitted: FittedParts,
    data: TrainingRows,
    folds: int,
    fit: FitRows,
    embed_descriptions: Callable[[Pool], Floats],
) -> TrainingResult:
    """Add the expected quality to what was learned without it.

    Args:
        learned: The rest.
        fitted: What came of fitting all of the material's rows.
        data: Rows with outcomes.
        folds: How many parts to cross-fit in.
        fit: Fits some rows anew.
        embed_descriptions: Returns the embedding of each candidate's description, ``[M, W]``, NaN where it has none.
    """
    rows, targets, pool = data.rows, data.targets, data.training.dataset.pool
    quality, kinds = targets.quality[rows], list(fitted.experts)
    questions = [data.questions[row] for row in rows]
    fold = fold_of(questions, folds, data.seed)
    crossed = _cross_fit(data, fold, kinds, fit, "fold")
    weights = blend_weights(crossed.predictions, quality)
    near, far = crossed.evidence(blended_by_others(crossed.predictions, quality, fold), quality), None
    if ClusterExpert.kind in kinds:
        group = ClusterExpert.fit(fitted.embed(rows), quality, folds, data.seed).nearest(fitted.embed(rows))
        grouped = _cross_fit(data, merge_questions(group, questions), kinds, fit, "group")
        far = grouped.evidence(blended(grouped.predictions, weights), quality)
    blend = Blend(fitted.experts, weights, candidate_means(quality), Trust.fit(near, far))
    rest = np.setdiff1d(np.arange(len(targets)), rows)
    held_out = np.empty(targets.quality.shape)
    held_out[rows] = blend.trust(near.prediction, near.means, near.distance)
    held_out[rest] = blend(fitted.embed(rest))  # what was not fitted on was not seen either
    assert pool is not None  # there are outcomes, so there are candidates
    known = pool.subset(targets.candidates)
    resemblance = CandidateSimilarity.fit(embed_descriptions(known), log_prices(known.candidates), held_out[rows], quality)
    learned = attrs.evolve(learned, candidates=targets.candidates, blend=blend, resemblance=resemblance)
    return TrainingResult(learned, fitted.curve, held_out @ learned.weights(pool, embed_descriptions).T)


@attrs.frozen(eq=False)
class _Crossed:
    """What parts that were not fitted on a row say of it.

    Attributes:
        predictions: Of each expert, then the candidates' means, ``[E + 1, N, M]``.
        distance: From the nearest cluster, ``[N]``.
    """

    predictions: Floats
    distance: Floats

    def evidence(self, blend: Floats, quality: Floats) -> HeldOutPredictions:
        """Return what the blend predicted ``[N, M]`` beside what came of it."""
        return HeldOutPredictions(blend, self.predictions[-1], quality, self.distance)


def _cross_fit(data: TrainingRows, fold: NDArray[np.intp], kinds: list[str], fit: FitRows, name: str) -> _Crossed:
    """Predict the rows of each fold by what was fitted on the others."""
    rows = data.rows
    quality = data.targets.quality[rows]
    crossed = _Crossed(np.full((len(kinds) + 1, *quality.shape), 0.5), np.zeros(len(rows)))
    numbers = np.unique(fold)
    for number in numbers if len(numbers) > 1 else ():  # of a single text nothing is known without it
        held, others = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        fitted = fit(rows[others], f"heads, {name} {number + 1} of {len(numbers)}")
        embedding = fitted.embed(rows[held])
        for prediction, kind in zip(crossed.predictions, kinds, strict=False):
            prediction[held] = fitted.experts[kind](embedding)
        crossed.predictions[-1, held] = candidate_means(quality[others])
        crossed.distance[held] = distance(fitted.experts, embedding)
    return crossed


def embed_descriptions(pool: Pool, embed: Callable[[Sequence[str]], Floats]) -> Floats:
    """Return the embedding of each candidate's description, ``[M, W]``, NaN where it has none."""
    embedding = embed([candidate.description for candidate in pool]).astype(np.float64)
    embedding[[not candidate.description for candidate in pool]] = np.nan
    return embedding
