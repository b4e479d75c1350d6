"""How the estimator learns: the heads on all rows, then, with outcomes, the blend of experts by cross-fitting."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from aamc_lexical.trained_estimator import Learned
from aamc_lexical.training.cross_fitting import Lesson, describe, with_quality
from aamc_lexical.training.training_rows import Material

from aamc_tce.config import TCEConfig
from aamc_tce.encoders.embedder import Embedder
from aamc_tce.encoders.runtime import serving
from aamc_tce.encoders.torch_encoder import Encoder
from aamc_tce.training.strategies import FrozenWay, TunedWay, Way, checkpoints


def learn(config: TCEConfig, material: Material, make_encoder: Callable[[], Encoder]) -> tuple[Lesson, Embedder]:
    """Learn all there is to learn.

    Args:
        config: The estimator's options.
        material: What to learn from.
        make_encoder: Loads the encoder as it was before any training.

    Returns:
        What was learned, and what computes the embeddings that belong to it.
    """
    way: Way = TunedWay(config, material, make_encoder) if config.fine_tune else FrozenWay(config, material, serving(make_encoder(), config))
    fitted = way.fit(material.rows, "heads")
    encoder = fitted.encoder
    names = material.targets.category_names
    learned = Learned(encoder=encoder.fingerprint, heads=fitted.heads, category_names=names, projection=way.projection)
    lesson = Lesson(learned, fitted.curve)
    if material.targets.candidates:
        lesson = with_quality(learned, fitted, material, config.folds, way.fit, lambda pool: describe(pool, encoder.embed))
    if (folder := checkpoints(material)) is not None:
        shutil.rmtree(folder, ignore_errors=True)  # the caller keeps what they led to
    return lesson, encoder
