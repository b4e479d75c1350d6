"""How the estimator learns: the heads on all rows, then, with outcomes, the blend of experts by cross-fitting."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import attrs
import numpy as np

from aamc_sdk.batch import Floats
from aamc_sdk.types import Pool
from aamc_tce.blend import Blend, fold_of, stacking_weights
from aamc_tce.encoder import Encoder
from aamc_tce.experts import candidate_means
from aamc_tce.learned import Learned
from aamc_tce.unseen import Resemblance, log_prices
from aamc_tce.ways import Fitted, FrozenWay, Material, Rows, TunedWay, Way


@attrs.frozen(eq=False)
class Lesson:
    """What came of learning.

    Attributes:
        learned: What estimates are made from.
        encoder: The encoder that belongs to it.
        curve: Of the heads' training, by epoch.
        out_of_fold: Each training row's quality from parts that were not fitted on it, ``[N, M]``; None without outcomes.
    """

    learned: Learned
    encoder: Encoder
    curve: list[dict[str, float]]
    out_of_fold: Floats | None = None


def learn(material: Material, make_encoder: Callable[[], Encoder]) -> Lesson:
    """Learn all there is to learn.

    Args:
        material: What to learn from.
        make_encoder: Loads the encoder as it was before any training.
    """
    rows = material.chosen_rows()
    way: Way = TunedWay(material, make_encoder) if material.config.fine_tune else FrozenWay(material, make_encoder(), rows)
    fitted = way.fit(rows, "heads")
    names = material.targets.category_names
    learned = Learned(encoder=fitted.encoder.fingerprint, heads=fitted.heads, category_names=names, projection=way.projection)
    lesson = Lesson(learned, fitted.encoder, fitted.curve)
    if material.targets.candidates:
        lesson = _with_quality(lesson, material, way, fitted, rows)
    if material.checkpoints is not None:
        shutil.rmtree(material.checkpoints, ignore_errors=True)  # the caller keeps what they led to
    return lesson


def _with_quality(lesson: Lesson, material: Material, way: Way, fitted: Fitted, rows: Rows) -> Lesson:
    targets, pool = material.targets, material.training.dataset.pool
    experts = way.experts(rows, fitted)
    crossed = _cross_fit(material, way, rows, list(experts))
    weights = stacking_weights([prediction[rows] for prediction in crossed], targets.quality[rows])
    blend = Blend(experts, weights, candidate_means(targets.quality[rows]))
    held_out = np.clip(sum(weight * prediction for weight, prediction in zip(weights, crossed, strict=True)), 0.0, 1.0)
    rest = np.setdiff1d(np.arange(len(targets)), rows)
    held_out[rest] = blend(fitted.embed(rest))  # nothing was fitted on these
    assert pool is not None  # there are outcomes, so there are candidates
    known = pool.subset(targets.candidates)
    views = describe(known, fitted.encoder), log_prices(known.candidates)
    resemblance = Resemblance.fit(*views, held_out[rows], targets.quality[rows])
    learned = attrs.evolve(lesson.learned, candidates=targets.candidates, blend=blend, resemblance=resemblance)
    out_of_fold = learned.for_pool(held_out, pool, lambda strangers: describe(strangers, fitted.encoder))
    return attrs.evolve(lesson, learned=learned, out_of_fold=out_of_fold)


def _cross_fit(material: Material, way: Way, rows: Rows, kinds: list[str]) -> list[Floats]:
    """Return each expert's predictions for rows that it was not fitted on, then the candidates' means, each ``[N, M]``."""
    quality, folds = material.targets.quality, material.config.folds
    predictions = [np.full(quality.shape, np.nan) for _ in range(len(kinds) + 1)]
    fold = fold_of([material.texts[row] for row in rows], folds, material.seed)
    for number in np.unique(fold):
        held, others = rows[fold == number], rows[fold != number]
        if not len(others):  # a single text: nothing is known without it
            return [np.full(quality.shape, 0.5) for _ in predictions]
        fitted = way.fit(others, f"heads, fold {number + 1} of {folds}")
        experts = way.experts(others, fitted)
        embedding = fitted.embed(held)
        for prediction, kind in zip(predictions, kinds, strict=False):
            prediction[held] = experts[kind](embedding)
        predictions[-1][held] = candidate_means(quality[others])
    return predictions


def describe(pool: Pool, encoder: Encoder) -> Floats:
    """Return the embedding of each candidate's description, ``[M, W]``, NaN where it has none."""
    embedding = encoder.embed([candidate.description for candidate in pool]).astype(np.float64)
    embedding[[not candidate.description for candidate in pool]] = np.nan
    return embedding
