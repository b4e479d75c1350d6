"""Training of the expected quality: experts on all rows, and their blend by cross-fitting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_lexical.answer_lengths import LengthModel, cross_validated, fixed_latency, known_lengths
from aamc_lexical.config import LearningConfig
from aamc_lexical.heads.head_weights import HeadWeights
from aamc_lexical.heads.targets import Targets
from aamc_lexical.quality.blend import Blend, blend_weights, blended, blended_by_others, distances
from aamc_lexical.quality.candidate_similarity import CandidateSimilarity, encoded_descriptions, log_prices
from aamc_lexical.quality.cross_validation import fold_of, merge_groups
from aamc_lexical.quality.experts import BroadExpert, CategoryExpert, ClusterExpert, Expert, LocalExpert, NeighbourExpert, candidate_means
from aamc_lexical.quality.shrinkage import DistanceShrinkage, HeldOutPredictions
from aamc_lexical.trained_estimator import TrainedEstimator
from aamc_lexical.training.training_rows import Rows, TrainingRows
from aamc_sdk.types import Floats


@attrs.frozen(eq=False)
class FittedParts:
    """Heads and experts fitted to a set of rows.

    Attributes:
        heads: The heads.
        experts: The quality experts by kind; empty without outcomes.
        embed: Returns the embedding of any training rows for both.
        curve: The losses of the heads' training by epoch.
    """

    heads: HeadWeights
    experts: Mapping[str, Expert]
    embed: Callable[[Rows], Floats]
    curve: list[dict[str, float]] = attrs.field(factory=list)


FitRows = Callable[[Rows, str], FittedParts]
"""Fits a set of rows; the name appears in progress reports."""


@attrs.frozen(eq=False)
class TrainingResult:
    """The result of training an estimator.

    Attributes:
        learned: The trained estimator.
        curve: The losses of the heads' training by epoch.
        out_of_fold: Expected quality of each training row from parts fitted without it, ``[N, M]``; None without outcomes.
        out_of_fold_tokens: Expected tokens of each training row's answers from models fitted without it, ``[N, K]``; None without lengths.
    """

    learned: TrainedEstimator
    curve: list[dict[str, float]]
    out_of_fold: Floats | None = None
    out_of_fold_tokens: Floats | None = None


def smoothing_experts(config: LearningConfig, embedding: Floats, targets: Targets, heads: HeadWeights, seed: int) -> dict[str, Expert]:
    """Return the experts for embeddings ``[N, D]`` that do not depend on the outcomes; none without outcomes.

    ``heads``, fitted to the same rows, predict the categories; the seed is that of clusters and landmarks.
    """
    if not targets.candidates:
        return {}
    quality = targets.quality
    experts: dict[str, Expert] = {
        NeighbourExpert.kind: NeighbourExpert.fit(embedding, quality, config.neighbours),
        ClusterExpert.kind: ClusterExpert.fit(embedding, quality, config.clusters, seed),
    }
    categories = None
    if targets.category_names:
        categories = experts[CategoryExpert.kind] = CategoryExpert.fit(targets, heads)
    return experts | {kernel.kind: kernel.fit(embedding, quality, categories, seed) for kernel in (BroadExpert, LocalExpert)}


def with_quality(
    learned: TrainedEstimator,
    fitted: FittedParts,
    data: TrainingRows,
    folds: int,
    fit: FitRows,
    encode: Callable[[Sequence[str]], Floats],
    measured_by: Sequence[str] = (ClusterExpert.kind,),
) -> TrainingResult:
    """Add the expected quality to a trained estimator.

    ``fitted`` are the parts fitted to all rows of the data, and ``fit`` fits new ones to some rows. ``encode`` is the encoder, for the candidates'
    descriptions. The experts of kinds ``measured_by`` measure how far a query is from the training rows.
    """
    rows, targets, pool = data.rows, data.targets, data.training.dataset.pool
    quality, kinds = targets.quality[rows], list(fitted.experts)
    questions = data.questions.take(rows)
    fold = data.labels_by_question(rows, fold_of(questions, folds, data.seed))
    asked, unasked = np.flatnonzero(fold >= 0), np.flatnonzero(fold < 0)
    own = np.isin(asked, rows)
    predictions, distance = _cross_fit(data, fold, kinds, fit, "fold", measured_by)
    weights = blend_weights(predictions[:, own], quality)
    prediction, means = blended_by_others(predictions, np.where(own[:, None], targets.quality[asked], np.nan), fold[asked]), predictions[-1]
    near, far = HeldOutPredictions(prediction[own], means[own], quality, distance[own], questions.group), None
    if ClusterExpert.kind in measured_by and ClusterExpert.kind in kinds:
        cluster = ClusterExpert.fit(fitted.embed(rows), quality, folds, data.seed).nearest(fitted.embed(rows))
        group = np.full(len(targets), -1)
        group[rows] = merge_groups(cluster, questions)
        grouped, far_distance = _cross_fit(data, group, kinds, fit, "group", measured_by)
        far = HeldOutPredictions(blended(grouped, weights), grouped[-1], quality, far_distance, questions.group)
    shrinkage = DistanceShrinkage.of_familiar(near, measured_by) if NeighbourExpert.kind in measured_by else DistanceShrinkage.fit(near, far)
    blend = Blend(fitted.experts, weights, candidate_means(quality), shrinkage, measured_by)
    held_out = np.empty(targets.quality.shape)
    held_out[asked] = blend.shrinkage(prediction, means, distance)
    first, place = data.distinct_texts(unasked)
    held_out[unasked] = blend(fitted.embed(first))[place]  # the questions of these rows were not fitted, so their predictions are out of sample
    assert pool is not None  # there are outcomes, so there are candidates
    known = pool.subset(targets.candidates)
    resemblance = CandidateSimilarity.fit(encoded_descriptions(known, encode), log_prices(known.candidates), held_out[rows], quality)
    learned = attrs.evolve(learned, candidates=targets.candidates, blend=blend, resemblance=resemblance)
    return TrainingResult(learned, fitted.curve, held_out @ learned.weights(pool, encode).T)


def with_lengths(result: TrainingResult, data: TrainingRows, folds: int, embed: Callable[[Rows], Floats]) -> TrainingResult:
    """Add the expected lengths of answers to the result of a training, if the data has lengths; ``embed`` embeds any training rows."""
    candidates, tokens = known_lengths(data.training.dataset, data.rows)
    if not candidates:
        return result
    rows = data.rows[np.isfinite(tokens[data.rows]).any(axis=1)]
    everything = embed(np.arange(len(tokens)))
    fold = data.labels_by_question(rows, fold_of(data.questions.take(rows), folds, data.seed))
    asked = np.flatnonzero(fold >= 0)
    lengths = np.where(np.isin(asked, rows)[:, None], tokens[asked], np.nan)
    penalty, unseen = cross_validated(everything[asked], lengths, fold[asked])
    model = LengthModel.fit(everything[rows], tokens[rows], penalty)
    outcomes, known = data.training.dataset.outcomes, data.training.dataset.pool
    assert outcomes is not None  # there are lengths, so there are outcomes of a pool
    assert known is not None
    latency_ms = outcomes.latency_ms[rows][:, [known.index(name) for name in candidates]]
    model = attrs.evolve(model, fixed_latency=fixed_latency(tokens[rows], latency_ms))
    held_out = model(everything)  # rows whose questions were not fitted are out of sample
    held_out[asked] = np.where(np.isfinite(unseen), unseen, model.means)
    return attrs.evolve(result, learned=attrs.evolve(result.learned, lengths=model, answering=candidates), out_of_fold_tokens=held_out)


def _cross_fit(
    data: TrainingRows, fold: NDArray[np.intp], kinds: list[str], fit: FitRows, name: str, measured_by: Sequence[str]
) -> tuple[Floats, Floats]:
    """Predict the rows of each fold with parts fitted to the other folds; ``fold`` is that of each row ``[N]``, -1 for rows of no fold.

    Returns:
        Predictions of each expert for the A rows of a fold, then the candidates' means, ``[E + 1, A, M]``, and S distances from the fitted rows of
        the other folds, ``[A, S]``.
    """
    quality, asked = data.targets.quality, fold >= 0
    predictions, distance = np.full((len(kinds) + 1, *quality.shape), 0.5), np.zeros((len(fold), len(measured_by)))
    numbers = np.unique(fold[asked])
    for number in numbers if len(numbers) > 1 else ():  # a single question leaves no rows to fit
        held, others = np.flatnonzero(fold == number), data.rows[fold[data.rows] != number]
        fitted = fit(others, f"heads, {name} {number + 1} of {len(numbers)}")
        first, place = data.distinct_texts(held)
        embedding = fitted.embed(first)
        for prediction, kind in zip(predictions, kinds, strict=False):
            prediction[held] = fitted.experts[kind](embedding)[place]
        predictions[-1, held] = candidate_means(quality[others])
        distance[held] = distances(fitted.experts, measured_by, embedding)[place]
    return predictions[:, asked], distance[asked]
