"""The two ways to come by an embedding.

A frozen encoder gives it once for all. A fine-tuned one is different for each part of the rows that it was trained on, so
out-of-fold quality takes one more encoder for each fold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import attrs
import numpy as np
import torch
from numpy.typing import NDArray

from aamc_sdk.batch import Floats
from aamc_sdk.errors import DataError
from aamc_sdk.interfaces import Training
from aamc_tce.config import TCEConfig
from aamc_tce.encoder import Encoder
from aamc_tce.experts import CategoryMeans, Clusters, Expert, Neighbours, QualityHead, Ridge
from aamc_tce.heads import HeadWeights
from aamc_tce.learned import Projection
from aamc_tce.targets import Targets
from aamc_tce.training import Examples, FrozenExamples, Job, TextExamples, fit

Rows = NDArray[np.intp]
TIMES_FORWARD = 3
"""What a training step takes in units of embedding: forward, and backward twice that."""


@attrs.frozen(kw_only=True, eq=False)
class Material:
    """What there is to learn from.

    Attributes:
        config: The estimator's options.
        training: Where to keep checkpoints, whether to resume, where to report.
        texts: Of all N training rows.
        targets: Their labels.
        validation_texts: Of the validation rows.
        validation_targets: Their labels; None where there are no such rows, or no labels.
        seed: All randomness follows from it.
        device: Where to compute.
    """

    config: TCEConfig
    training: Training
    texts: Sequence[str]
    targets: Targets
    validation_texts: Sequence[str]
    validation_targets: Targets | None
    seed: int
    device: torch.device

    @classmethod
    def of(cls, config: TCEConfig, training: Training, seed: int, device: torch.device) -> Material:
        """Read the training and validation rows.

        Raises:
            DataError: There is no training row.
        """
        if not len(training.dataset):
            raise DataError("the training split is empty; give the estimator at least one row")
        targets = Targets.of(training.dataset)
        rows = training.validation if training.validation is not None and len(training.validation) else None
        validation_targets = None if rows is None else Targets.of(rows, like=targets)
        return cls(
            config=config,
            training=training,
            texts=[query.text for query in training.dataset.queries],
            targets=targets,
            validation_texts=[] if rows is None else [query.text for query in rows.queries],
            validation_targets=validation_targets if validation_targets is not None and validation_targets.head_sizes() else None,
            seed=seed,
            device=device,
        )

    @property
    def checkpoints(self) -> Path | None:
        """The folder of states that make a stopped fine-tuning resumable."""
        return None if self.training.folder is None else self.training.folder / "tce-checkpoints"

    def chosen_rows(self) -> Rows:
        """Return the rows that are fitted on: all, or as many as ``max_train_texts`` allows."""
        most = self.config.max_train_texts or len(self.texts)
        return np.sort(np.random.default_rng(self.seed).permutation(len(self.texts))[:most])

    def job(self, rows: Rows, examples: Examples, validation: Examples | None, **rest: Any) -> Job:
        """Return the training of the heads on some rows."""
        held_out = None if validation is None or self.validation_targets is None else (validation, self.validation_targets)
        targets, seed, device, progress = self.targets.take(rows), self.seed, self.device, self.training.progress
        return Job(config=self.config, examples=examples, targets=targets, validation=held_out, seed=seed, device=device, progress=progress, **rest)


@attrs.frozen(eq=False)
class Fitted:
    """Heads, their encoder, the embedding that they read for any training rows, and the curve of their training."""

    heads: HeadWeights
    encoder: Encoder
    embed: Callable[[Rows], Floats]
    curve: list[dict[str, float]]


class Way(Protocol):
    """How embeddings are come by."""

    projection: Projection | None

    def fit(self, rows: Rows, name: str) -> Fitted:
        """Train the heads on some rows."""

    def experts(self, rows: Rows, fitted: Fitted) -> dict[str, Expert]:
        """Return experts of quality that know only these rows."""


class FrozenWay:
    """The encoder stays as it is; the heads and the experts share its embeddings."""

    def __init__(self, material: Material, encoder: Encoder, rows: Rows) -> None:
        self.material, self.encoder = material, encoder
        embeddings = encoder.embed([*material.texts, *material.validation_texts], material.training.progress)
        self.projection: Projection | None = Projection.fit(embeddings[rows], material.config.dimensions)
        features = self.projection(embeddings)
        self._features, validation = features[: len(material.texts)], features[len(material.texts) :]
        self._validation = FrozenExamples(validation, material.device) if len(validation) else None

    def fit(self, rows: Rows, name: str) -> Fitted:
        """Train the heads on some rows."""
        examples = FrozenExamples(self._features[rows], self.material.device)
        job = self.material.job(
            rows, examples, self._validation, encoder=None, width=self._features.shape[1], checkpoint=None, resume=False, name=name
        )
        heads, curve = fit(job)
        return Fitted(heads, self.encoder, lambda wanted: self._features[wanted], curve)

    def experts(self, rows: Rows, fitted: Fitted) -> dict[str, Expert]:
        """Return experts of quality that know only these rows."""
        config, targets, features = self.material.config, self.material.targets.take(rows), self._features[rows]
        return {
            Neighbours.kind: Neighbours.fit(features, targets.quality, config.neighbours),
            Clusters.kind: Clusters.fit(features, targets.quality, config.clusters, self.material.seed),
            Ridge.kind: Ridge.fit(features, targets.quality),
            **_head_experts(targets, fitted.heads),
        }


class TunedWay:
    """Each training has an encoder of its own; quality comes from its heads.

    Neighbours of training texts would mislead here: their embeddings have seen their own outcomes.
    """

    projection: Projection | None = None

    def __init__(self, material: Material, make_encoder: Callable[[], Encoder]) -> None:
        self.material, self._make_encoder = material, make_encoder
        encoder = make_encoder()
        trainings = 1 + (material.config.folds if material.targets.candidates else 0)
        seconds = TIMES_FORWARD * trainings * material.config.epochs * encoder.seconds_for(encoder.tokenize(material.texts))
        material.training.progress.say(f"fine-tuning {trainings} encoders on {len(material.texts):,} texts: at most about {seconds / 60:.0f} min")

    def fit(self, rows: Rows, name: str) -> Fitted:
        """Train an encoder and the heads on some rows."""
        material, encoder = self.material, self._make_encoder()
        examples = TextExamples([material.texts[row] for row in rows], encoder)
        validation = TextExamples(material.validation_texts, encoder) if material.validation_texts else None
        checkpoint = None if material.checkpoints is None else material.checkpoints / f"{name}.safetensors"
        resume = material.training.resume
        job = material.job(rows, examples, validation, encoder=encoder, width=encoder.width, checkpoint=checkpoint, resume=resume, name=name)
        heads, curve = fit(job)
        encoder.forget()
        return Fitted(heads, encoder, lambda wanted: encoder.embed([material.texts[row] for row in wanted]), curve)

    def experts(self, rows: Rows, fitted: Fitted) -> dict[str, Expert]:
        """Return experts of quality that know only these rows."""
        return _head_experts(self.material.targets.take(rows), fitted.heads)


def _head_experts(targets: Targets, heads: HeadWeights) -> dict[str, Expert]:
    experts: dict[str, Expert] = {QualityHead.kind: QualityHead(heads)}
    if targets.category_names:
        experts[CategoryMeans.kind] = CategoryMeans.fit(targets.category, targets.quality, heads, len(targets.category_names))
    return experts
