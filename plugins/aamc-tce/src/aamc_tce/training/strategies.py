"""The two ways to come by an embedding.

A frozen encoder gives it once for all. A fine-tuned one is different for each part of the rows that it was trained on, so
out-of-fold quality takes one more encoder for each fold.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import attrs
from aamc_lexical.heads.head_weights import HeadWeights
from aamc_lexical.heads.targets import Targets
from aamc_lexical.quality.experts import CategoryMeans, Expert, QualityHead
from aamc_lexical.trained_estimator import Projection
from aamc_lexical.training.cross_fitting import Fitted, smoothing_experts
from aamc_lexical.training.training_rows import Material, Rows

from aamc_sdk.batch import Floats
from aamc_tce.config import TCEConfig
from aamc_tce.encoders.embedder import Embedder
from aamc_tce.encoders.torch_encoder import Encoder
from aamc_tce.training import fine_tuning as training
from aamc_tce.training import frozen_heads
from aamc_tce.training.fine_tuning import TextExamples
from aamc_tce.training.head_training import Job

TIMES_FORWARD = 3
"""What a training step takes in units of embedding: forward, and backward twice that."""


@attrs.frozen(kw_only=True, eq=False)
class EncodedFit(Fitted):
    """What came of fitting some rows, and what computes their embeddings."""

    encoder: Embedder


class Way(Protocol):
    """How embeddings are come by."""

    projection: Projection | None

    def fit(self, rows: Rows, name: str) -> EncodedFit:
        """Train the heads, and fit the experts of quality, on some rows."""


class FrozenWay:
    """The encoder stays as it is, whatever computes it; heads and experts share its embeddings."""

    def __init__(self, config: TCEConfig, material: Material, encoder: Embedder) -> None:
        self.config, self.material, self.encoder = config, material, encoder
        embeddings = encoder.embed([*material.texts, *material.validation_texts], material.training.progress)
        self.projection: Projection | None = Projection.fit(embeddings[material.rows], config.dimensions)
        features = self.projection(embeddings)
        self._features, held_out = features[: len(material.texts)], features[len(material.texts) :]
        self._validation = None if material.validation_targets is None else (held_out, material.validation_targets)

    def fit(self, rows: Rows, name: str) -> EncodedFit:
        """Train the heads, and fit the experts of quality, on some rows."""
        features, targets, seed = self._features[rows], self.material.targets.take(rows), self.material.seed
        job = Job(
            config=self.config,
            examples=features,
            targets=targets,
            validation=self._validation,
            seed=seed,
            progress=self.material.training.progress,
            name=name,
        )
        heads, curve = frozen_heads.fit(job)
        experts = smoothing_experts(self.config, features, targets, seed) if targets.candidates else {}
        experts |= _head_experts(targets, heads)
        return EncodedFit(heads=heads, experts=experts, embed=lambda wanted: self._features[wanted], curve=curve, encoder=self.encoder)


class TunedWay:
    """Each training has an encoder of its own; quality comes from its heads.

    Neighbours of training texts would mislead here: their embeddings have seen their own outcomes.
    """

    projection: Projection | None = None

    def __init__(self, config: TCEConfig, material: Material, make_encoder: Callable[[], Encoder]) -> None:
        self.config, self.material, self._make_encoder = config, material, make_encoder
        encoder = make_encoder()
        trainings = 1 + (config.folds if material.targets.candidates else 0)
        seconds = TIMES_FORWARD * trainings * config.epochs * encoder.seconds_for(encoder.tokenize(material.texts))
        material.training.progress.say(f"fine-tuning {trainings} encoders on {len(material.texts):,} texts: at most about {seconds / 60:.0f} min")

    def fit(self, rows: Rows, name: str) -> EncodedFit:
        """Train an encoder and the heads on some rows."""
        material, encoder = self.material, self._make_encoder()
        targets, folder = material.targets.take(rows), checkpoints(material)
        held_out = None
        if material.validation_targets is not None:
            held_out = (TextExamples(material.validation_texts, encoder), material.validation_targets)
        job = Job(
            config=self.config,
            examples=TextExamples([material.texts[row] for row in rows], encoder),
            targets=targets,
            validation=held_out,
            seed=material.seed,
            progress=material.training.progress,
            name=name,
        )
        checkpoint = None if folder is None else folder / f"{name}.safetensors"
        heads, curve = training.fit(job, checkpoint, resume=material.training.resume)
        encoder.forget()
        experts = _head_experts(targets, heads)

        def embed(wanted: Rows) -> Floats:
            return encoder.embed([material.texts[row] for row in wanted])

        return EncodedFit(heads=heads, experts=experts, embed=embed, curve=curve, encoder=encoder)


def checkpoints(material: Material) -> Path | None:
    """Return the folder of states that make a stopped fine-tuning resumable."""
    return None if material.training.folder is None else material.training.folder / "tce-checkpoints"


def _head_experts(targets: Targets, heads: HeadWeights) -> dict[str, Expert]:
    if not targets.candidates:
        return {}
    experts: dict[str, Expert] = {QualityHead.kind: QualityHead(heads)}
    if targets.category_names:
        experts[CategoryMeans.kind] = CategoryMeans.fit(targets.category, targets.quality, heads, len(targets.category_names))
    return experts
