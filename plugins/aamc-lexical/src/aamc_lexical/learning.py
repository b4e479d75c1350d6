"""How the expected quality is learned: experts on all rows, and their blend by cross-fitting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs
import numpy as np

from aamc_lexical.blend import Blend, fold_of, stacking_weights
from aamc_lexical.config import LearningConfig
from aamc_lexical.experts import Clusters, Expert, Neighbours, Ridge, candidate_means
from aamc_lexical.heads import HeadWeights
from aamc_lexical.learned import Learned
from aamc_lexical.material import Material, Rows
from aamc_lexical.targets import Targets
from aamc_lexical.unseen import Resemblance, log_prices
from aamc_sdk.batch import Floats
from aamc_sdk.types import Pool


@attrs.frozen(eq=False)
class Fitted:
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


Fit = Callable[[Rows, str], Fitted]
"""Fits some rows; the name is what the user is shown."""


@attrs.frozen(eq=False)
class Lesson:
    """What came of learning.

    Attributes:
        learned: What estimates are made from.
        curve: Of the heads' training, by epoch.
        out_of_fold: Each training row's quality from parts that were not fitted on it, ``[N, M]``; None without outcomes.
    """

    learned: Learned
    curve: list[dict[str, float]]
    out_of_fold: Floats | None = None


def smoothing_experts(config: LearningConfig, embedding: Floats, targets: Targets, seed: int) -> dict[str, Expert]:
    """Return the experts that need nothing but embeddings ``[N, D]`` that have not seen the outcomes."""
    return {
        Neighbours.kind: Neighbours.fit(embedding, targets.quality, config.neighbours),
        Clusters.kind: Clusters.fit(embedding, targets.quality, config.clusters, seed),
        Ridge.kind: Ridge.fit(embedding, targets.quality),
    }


def with_quality(learned: Learned, fitted: Fitted, material: Material, folds: int, fit: Fit, describe: Callable[[Pool], Floats]) -> Lesson:
    """Add the expected quality to what was learned without it.

    Args:
        learned: The rest.
        fitted: What came of fitting all of the material's rows.
        material: Rows with outcomes.
        folds: How many parts to cross-fit in.
        fit: Fits some rows anew.
        describe: Returns the embedding of each candidate's description, ``[M, W]``, NaN where it has none.
    """
    rows, targets, pool = material.rows, material.targets, material.training.dataset.pool
    crossed = _cross_fit(material, folds, fit, list(fitted.experts))
    weights = stacking_weights([prediction[rows] for prediction in crossed], targets.quality[rows])
    blend = Blend(fitted.experts, weights, candidate_means(targets.quality[rows]))
    held_out = np.clip(sum(weight * prediction for weight, prediction in zip(weights, crossed, strict=True)), 0.0, 1.0)
    rest = np.setdiff1d(np.arange(len(targets)), rows)
    held_out[rest] = blend(fitted.embed(rest))  # nothing was fitted on these
    assert pool is not None  # there are outcomes, so there are candidates
    known = pool.subset(targets.candidates)
    resemblance = Resemblance.fit(describe(known), log_prices(known.candidates), held_out[rows], targets.quality[rows])
    learned = attrs.evolve(learned, candidates=targets.candidates, blend=blend, resemblance=resemblance)
    return Lesson(learned, fitted.curve, learned.for_pool(held_out, pool, describe))


def describe(pool: Pool, embed: Callable[[Sequence[str]], Floats]) -> Floats:
    """Return the embedding of each candidate's description, ``[M, W]``, NaN where it has none."""
    embedding = embed([candidate.description for candidate in pool]).astype(np.float64)
    embedding[[not candidate.description for candidate in pool]] = np.nan
    return embedding


def _cross_fit(material: Material, folds: int, fit: Fit, kinds: list[str]) -> list[Floats]:
    """Return each expert's predictions for rows that it was not fitted on, then the candidates' means, each ``[N, M]``."""
    quality, rows = material.targets.quality, material.rows
    predictions = [np.full(quality.shape, np.nan) for _ in range(len(kinds) + 1)]
    fold = fold_of([material.texts[row] for row in rows], folds, material.seed)
    for number in np.unique(fold):
        held, others = rows[fold == number], rows[fold != number]
        if not len(others):  # a single text: nothing is known without it
            return [np.full(quality.shape, 0.5) for _ in predictions]
        fitted = fit(others, f"heads, fold {number + 1} of {folds}")
        embedding = fitted.embed(held)
        for prediction, kind in zip(predictions, kinds, strict=False):
            prediction[held] = fitted.experts[kind](embedding)
        predictions[-1][held] = candidate_means(quality[others])
    return predictions
