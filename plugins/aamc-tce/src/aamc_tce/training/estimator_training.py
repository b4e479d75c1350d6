"""Training of the estimator: heads on a frozen encoder or together with it, then with outcomes the blend of experts by cross-fitting.

A frozen encoder embeds each text once for all folds. Fine-tuning gives another encoder for each set of training rows, so out-of-fold
quality needs one more encoder per fold.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import attrs
from aamc_lexical.heads import HeadWeights, Targets
from aamc_lexical.quality import CategoryExpert, Expert, HeadExpert
from aamc_lexical.text_length import with_length
from aamc_lexical.trained_estimator import Projection, TrainedEstimator
from aamc_lexical.training import (
    FittedParts,
    Rows,
    TrainingResult,
    TrainingRows,
    smoothing_experts,
    with_lengths,
    with_quality,
)

from aamc_sdk.types import CHARACTERS_PER_TOKEN, Floats
from aamc_tce.config import TCEConfig
from aamc_tce.encoders.embedder import Embedder
from aamc_tce.encoders.runtime import serving_embedder
from aamc_tce.encoders.torch_encoder import TorchEncoder
from aamc_tce.training import fine_tuning, frozen_heads
from aamc_tce.training.fine_tuning import TextExamples
from aamc_tce.training.training_schedule import HeadTraining

TIMES_FORWARD = 3
"""Time of a training step in forward passes: one forward and, as long as two, one backward pass."""


@attrs.frozen(kw_only=True, eq=False)
class EncodedParts(FittedParts):
    """The parts fitted on rows, and the embedder that they belong to."""

    encoder: Embedder


class FrozenEncoderTraining:
    """Trains heads and experts on the embeddings of a frozen encoder."""

    def __init__(self, config: TCEConfig, data: TrainingRows, encoder: Embedder) -> None:
        self.config, self.training_rows, self.encoder = config, data, encoder
        embeddings = encoder.embed([*data.texts, *data.validation_texts], data.training.progress)
        self.projection: Projection | None = Projection.fit(embeddings[data.rows], config.dimensions)
        features: Floats = self.projection(embeddings)
        self.text_length = data.text_length(config.max_length * CHARACTERS_PER_TOKEN)
        features = with_length(features, [*data.texts, *data.validation_texts], self.text_length)
        self._features, held_out = features[: len(data.texts)], features[len(data.texts) :]
        self._validation = None if data.validation_targets is None else (held_out, data.validation_targets)

    def fit(self, rows: Rows, name: str) -> EncodedParts:
        """Train the heads and fit the quality experts on rows."""
        features, targets, seed = self._features[rows], self.training_rows.targets.take(rows), self.training_rows.seed
        job = HeadTraining(
            config=self.config,
            examples=features,
            targets=targets,
            validation=self._validation,
            seed=seed,
            progress=self.training_rows.training.progress,
            name=name,
        )
        heads, curve = frozen_heads.fit(job)
        experts = smoothing_experts(self.config, features, targets, heads, seed)
        if experts:
            experts[HeadExpert.kind] = HeadExpert(heads)
        return EncodedParts(heads=heads, experts=experts, embed=lambda wanted: self._features[wanted], curve=curve, encoder=self.encoder)


class FineTuning:
    """Trains an encoder together with its heads for each set of rows; quality comes from the heads.

    Neighbours are not used: the fine-tuned embeddings of training texts depend on their own outcomes.
    """

    projection: Projection | None = None

    def __init__(self, config: TCEConfig, data: TrainingRows, make_encoder: Callable[[], TorchEncoder]) -> None:
        self.config, self.training_rows, self._make_encoder = config, data, make_encoder
        self.text_length = data.text_length(config.max_length * CHARACTERS_PER_TOKEN)
        encoder = make_encoder()
        trainings = 1 + (config.folds if data.targets.candidates else 0)
        seconds = TIMES_FORWARD * trainings * config.epochs * encoder.seconds_for(encoder.tokenize(data.texts))
        data.training.progress.say(f"fine-tuning {trainings} encoders on {len(data.texts):,} texts: at most about {seconds / 60:.0f} min")

    def fit(self, rows: Rows, name: str) -> EncodedParts:
        """Train an encoder and its heads on rows."""
        data, encoder = self.training_rows, self._make_encoder()
        targets, folder = data.targets.take(rows), checkpoint_folder(data)
        held_out = None
        if data.validation_targets is not None:
            held_out = (TextExamples(data.validation_texts, encoder, self.text_length), data.validation_targets)
        job = HeadTraining(
            config=self.config,
            examples=TextExamples([data.texts[row] for row in rows], encoder, self.text_length),
            targets=targets,
            validation=held_out,
            seed=data.seed,
            progress=data.training.progress,
            name=name,
        )
        checkpoint = None if folder is None else folder / f"{name}.safetensors"
        heads, curve = fine_tuning.fit(job, checkpoint, resume=data.training.resume)
        encoder.forget()
        experts = _head_experts(targets, heads)

        def embed(wanted: Rows) -> Floats:
            texts = [data.texts[row] for row in wanted]
            return with_length(encoder.embed(texts), texts, self.text_length)

        return EncodedParts(heads=heads, experts=experts, embed=embed, curve=curve, encoder=encoder)


def checkpoint_folder(data: TrainingRows) -> Path | None:
    """Return the folder of the states that a stopped fine-tuning resumes from; None if the training has no folder."""
    return None if data.training.folder is None else data.training.folder / "tce-checkpoints"


def _head_experts(targets: Targets, heads: HeadWeights) -> dict[str, Expert]:
    if not targets.candidates:
        return {}
    experts: dict[str, Expert] = {HeadExpert.kind: HeadExpert(heads)}
    if targets.category_names:
        experts[CategoryExpert.kind] = CategoryExpert.fit(targets, heads)
    return experts


def train_estimator(config: TCEConfig, data: TrainingRows, make_encoder: Callable[[], TorchEncoder]) -> tuple[TrainingResult, Embedder]:
    """Train all parts of the estimator; return them, and the embedder that they belong to. ``make_encoder`` loads the pretrained encoder."""
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
        result = with_quality(learned, fitted, data, config.folds, strategy.fit, encoder.embed)
    result = with_lengths(result, data, config.folds, fitted.embed)
    if (folder := checkpoint_folder(data)) is not None:
        shutil.rmtree(folder, ignore_errors=True)  # the caller saves the result
    return result, encoder
