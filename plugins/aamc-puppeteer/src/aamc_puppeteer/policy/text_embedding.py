"""Text embeddings for the policy's features, from an estimator trained on the texts of tasks and agents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aamc_puppeteer.policy.encoder import LENGTH
from aamc_sdk import Dataset, Estimator, Query, Training
from aamc_sdk.errors import CheckpointError, EstimatesError
from aamc_sdk.messages import checkpoint_errors
from aamc_sdk.routing import Array32
from aamc_sdk.storage import read_arrays, write_arrays

_FILE = "embedding.npz"
_FOLDER = "estimator"
_MIN_DEVIATION = 1e-3


class TextEmbedding:
    """An estimator's embedding minus a centre, ``[D]`` or ``[1]``, scaled to the norm of a text's hashed words."""

    def __init__(self, estimator: Estimator, centre: Array32, scale: float) -> None:
        self._estimator = estimator
        self._centre = centre
        self._scale = scale

    @classmethod
    def trained(cls, estimator: Estimator, tasks: Sequence[str], others: Sequence[str]) -> TextEmbedding:
        """Train an estimator on texts; centre and scale are those of the tasks, or of all texts if there are no tasks."""
        texts = [text for text in dict.fromkeys([*tasks, *others]) if text]
        estimator.train(Training(dataset=Dataset(queries=[Query(text) for text in texts])))
        raw = cls(estimator, np.zeros(1, np.float32), 1.0)(list(dict.fromkeys(tasks)) or texts)
        centre = raw.mean(axis=0)
        deviation = float(np.sqrt(np.mean(np.sum((raw - centre) ** 2, axis=1))))
        return cls(estimator, centre, LENGTH / max(deviation, _MIN_DEVIATION))

    def __call__(self, texts: Sequence[str]) -> Array32:
        """Return the vectors of B texts, ``[B, D]``."""
        embedding = self._estimator.estimate([Query(text) for text in texts]).embedding
        if embedding is None or not np.isfinite(embedding).all():
            name = type(self._estimator).__name__
            raise EstimatesError(f"the puppeteer needs an estimator that embeds texts, and {name} does not; use lexical or tce")
        return np.asarray((embedding - self._centre) * self._scale, np.float32)

    def save(self, folder: Path) -> None:
        """Write estimator, centre and scale into an existing folder."""
        (folder / _FOLDER).mkdir(exist_ok=True)
        self._estimator.save(folder / _FOLDER)
        write_arrays(folder / _FILE, {"centre": self._centre, "scale": np.array(self._scale)})

    @classmethod
    def load(cls, folder: Path, estimator: Estimator) -> TextEmbedding:
        """Read a saved embedding into an estimator with the same configuration; raise CheckpointError if it is missing or damaged."""
        estimator.load(folder / _FOLDER)
        arrays: Mapping[str, Any] = read_arrays(folder / _FILE)
        with checkpoint_errors(folder / _FILE, "train again"):
            centre, scale = np.asarray(arrays["centre"], np.float32), float(arrays["scale"])
        if not (np.isfinite(centre).all() and np.isfinite(scale)):
            raise CheckpointError(f"{folder / _FILE} is damaged: it has values that are not finite; train again")
        return cls(estimator, centre, scale)
