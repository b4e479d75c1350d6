"""Training of the estimator: the heads on all rows, then with outcomes the blend of experts by cross-fitting."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from aamc_lexical.trained_estimator import TrainedEstimator
from aamc_lexical.training import TrainingResult, TrainingRows, embed_descriptions, with_lengths, with_quality

from aamc_tce.config import TCEConfig
from aamc_tce.encoders.embedder import Embedder
from aamc_tce.encoders.runtime import serving_embedder
from aamc_tce.encoders.torch_encoder import TorchEncoder
from aamc_tce.training.strategies import FineTuning, FrozenEncoderTraining, checkpoint_folder


def train_estimator(config: TCEConfig, data: TrainingRows, make_encoder: Callable[[], TorchEncoder]) -> tuple[TrainingResult, Embedder]:
    """Train all parts of the estimator.

    Args:
        config: The estimator's options.
        data: The training rows.
        make_encoder: Loads the pretrained encoder.

    Returns:
        The trained parts, and the embedder that they belong to.
    """
    strategy: FineTuning | FrozenEncoderTraining = (
        FineTuning(config, data, make_encoder) if config.fine_tune else FrozenEncoderTraining(config, data, serving_embedder(make_encoder(), config))
    )
    fitted = strategy.fit(data.rows, "heads")
    encoder = fitted.encoder
    names = data.targets.category_names
    learned = TrainedEstimator(
        encoder=encoder.fingerprint,
        heads=fitted.heads,
        category_names=names,
        projection=strategy.projection,
        text_length=strategy.text_length,
    )
    result = TrainingResult(learned, fitted.curve)
    if data.targets.candidates:
        result = with_quality(learned, fitted, data, config.folds, strategy.fit, lambda pool: embed_descriptions(pool, encoder.embed))
    result = with_lengths(result, data, config.folds, fitted.embed)
    if (folder := checkpoint_folder(data)) is not None:
        shutil.rmtree(folder, ignore_errors=True)  # the caller saves the result
    return result, encoder
