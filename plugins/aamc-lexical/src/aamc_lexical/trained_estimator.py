"""The trained parts of an estimator, except its encoder: arrays and names, saved without pickle."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from aamc_lexical.answer_lengths import LengthModel, for_pool
from aamc_lexical.heads.head_weights import HeadWeights
from aamc_lexical.quality.blend import Blend
from aamc_lexical.quality.candidate_similarity import CandidateSimilarity, encoded_descriptions, log_prices
from aamc_lexical.quality.experts import (
    BroadExpert,
    CategoryExpert,
    ClusterExpert,
    Expert,
    HeadExpert,
    KernelExpert,
    LocalExpert,
    NeighbourExpert,
    RidgeExpert,
)
from aamc_lexical.quality.shrinkage import DistanceShrinkage
from aamc_lexical.text_length import LengthFeature
from aamc_sdk.errors import CheckpointError
from aamc_sdk.storage import read_arrays, read_bytes, read_json, under, write_arrays, write_bytes, write_json
from aamc_sdk.types import AnswerLengths, Floats, Pool

logger = logging.getLogger(__name__)

_OF_ARRAYS: dict[str, type[Any]] = {cls.kind: cls for cls in (NeighbourExpert, ClusterExpert, RidgeExpert)}
_OF_KERNELS: dict[str, type[KernelExpert]] = {cls.kind: cls for cls in (BroadExpert, LocalExpert)}
MIN_DEVIATION = 1e-6
"""Embeddings with a smaller standard deviation are not scaled."""


@attrs.frozen(eq=False)
class Projection:
    """A projection on principal components, scaled by one factor to unit variance on average.

    Attributes:
        centre: ``[W]``.
        components: ``[W, D]``.
    """

    centre: NDArray[np.float32]
    components: NDArray[np.float32]

    @classmethod
    def fit(cls, embedding: Floats, dimensions: int) -> Projection:
        """Fit at most ``dimensions`` components to ``[N, W]`` embeddings."""
        from sklearn.utils.extmath import randomized_svd  # type: ignore[import-untyped]  # scikit-learn ships no types

        centre = embedding.mean(axis=0, dtype=np.float64).astype(np.float32)
        _, strengths, components = randomized_svd(embedding - centre, min(dimensions, *embedding.shape), random_state=0)
        deviation = float(np.sqrt(np.mean(strengths**2) / len(embedding)))
        scale = deviation if deviation > MIN_DEVIATION else 1.0
        return cls(centre, (components.T / scale).astype(np.float32))

    def __call__(self, embedding: Floats) -> NDArray[np.float32]:
        """Return the projection ``[B, D]`` of ``[B, W]`` embeddings."""
        return np.asarray((embedding - self.centre) @ self.components, dtype=np.float32)


@attrs.frozen(kw_only=True, eq=False)
class TrainedEstimator:
    """A trained estimator.

    Attributes:
        encoder: The fingerprint of its encoder.
        heads: The heads of complexity, category, tool use and quality.
        category_names: C names.
        projection: The projection of a frozen encoder's embeddings; None for a fine-tuned one.
        text_length: The length of a text as one more number of its embedding; None if it is not used.
        candidates: Names of the K candidates with known quality; empty without outcomes.
        blend: Predicts their quality.
        resemblance: Compares other candidates with them.
        lengths: Predicts the tokens of answers; None if training had no lengths.
        answering: Names of the candidates with known lengths.
    """

    encoder: str
    heads: HeadWeights
    category_names: tuple[str, ...] = ()
    projection: Projection | None = None
    text_length: LengthFeature | None = None
    candidates: tuple[str, ...] = ()
    blend: Blend | None = None
    resemblance: CandidateSimilarity | None = None
    lengths: LengthModel | None = None
    answering: tuple[str, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """A hash of everything except the text that an estimate depends on."""
        digest = hashlib.sha256(f"{self.encoder} {self.category_names}".encode())
        for name, array in sorted(self._estimating_arrays().items()):
            digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    @property
    def width(self) -> int:
        """The width of the embeddings for heads and experts."""
        return self.heads.width if self.lengths is None else len(self.lengths.center)

    def weights(self, pool: Pool, encode: Callable[[Sequence[str]], Floats]) -> Floats:
        """Return the weight of each known candidate's quality for each candidate of a pool, ``[M, K]``; ``encode`` is the encoder."""
        assert self.resemblance is not None  # every estimator with outcomes has it
        weights = np.zeros((len(pool), len(self.candidates)))
        places = {name: place for place, name in enumerate(self.candidates)}
        for m, name in enumerate(pool.names):
            if name in places:
                weights[m] = self.resemblance.known_weights[places[name]]
        if new := [m for m, name in enumerate(pool.names) if name not in places]:
            unseen = pool.subset([pool.names[m] for m in new])
            weights[new] = self.resemblance.weights(encoded_descriptions(unseen, encode), log_prices(unseen.candidates))
        return weights

    def answer_lengths(self, tokens: Floats, pool: Pool) -> AnswerLengths:
        """Return expected tokens ``[B, K]`` of the answering candidates as those of a pool."""
        assert self.lengths is not None  # it predicted the tokens
        return for_pool(tokens, self.lengths, self.answering, pool)

    def _estimating_arrays(self) -> dict[str, NDArray[Any]]:
        heads = {f"heads/{name}": array for name, array in self.heads.arrays.items()}
        return heads | _arrays({"projection": self.projection, "text_length": self.text_length})

    def save(self, folder: Path) -> None:
        """Write ``heads.safetensors``, ``quality.npz`` and ``learned.json``."""
        write_bytes(folder / "heads.safetensors", safetensors.save({n: np.ascontiguousarray(a) for n, a in self._estimating_arrays().items()}))
        arrays: dict[str, Any] = {}
        names: dict[str, Any] = {"encoder": self.encoder, "category_names": self.category_names, "candidates": self.candidates}
        names |= {"answering": self.answering}
        if self.blend is not None:
            arrays = {"weights": self.blend.weights, "means": self.blend.means}
            arrays |= _arrays({"trust": self.blend.shrinkage, "resemblance": self.resemblance, **self.blend.experts})
            names |= {"experts": list(self.blend.experts), "measured_by": list(self.blend.measured_by)}
        write_arrays(folder / "quality.npz", arrays | _arrays({"lengths": self.lengths}))
        write_json(folder / "learned.json", names)

    @classmethod
    def load(cls, folder: Path) -> TrainedEstimator:
        """Read a saved estimator.

        Checkpoints of version 0.1 have no lengths of answers and no expert that measures distances, which were clusters.

        Raises:
            CheckpointError: A file is missing, unreadable, damaged or from another version.
        """
        names, arrays, content = read_json(folder / "learned.json"), read_arrays(folder / "quality.npz"), read_bytes(folder / "heads.safetensors")
        try:
            saved = safetensors.load(content)
            answering = tuple(names.get("answering", ()))
            heads = HeadWeights(under("heads/", saved))
            estimating = cls(
                encoder=names["encoder"],
                heads=heads,
                category_names=tuple(names["category_names"]),
                projection=Projection(**under("projection/", saved)) if "projection/centre" in saved else None,
                text_length=LengthFeature(**under("text_length/", saved)) if "text_length/scale" in saved else None,
                lengths=LengthModel(**under("lengths/", arrays)) if answering else None,
                answering=answering,
            )
            if "answering" not in names:
                logger.warning(
                    "the estimator in %s is of version 0.1, which read the first part of a long text only; estimates of long texts now differ; "
                    "train again if you have such texts",
                    folder,
                )
            if not names["candidates"]:
                return estimating
            resemblance = under("resemblance/", arrays)
            return attrs.evolve(
                estimating,
                candidates=tuple(names["candidates"]),
                blend=_blend(names, arrays, heads),
                resemblance=CandidateSimilarity(**resemblance | {"bandwidth": float(resemblance["bandwidth"])}),
            )
        except (KeyError, TypeError) as error:  # the files are intact but hold other parts
            raise CheckpointError(f"the estimator in {folder} was made by another version, which saved other parts ({error}); train again") from error
        except (SafetensorError, ValueError) as error:
            raise CheckpointError(f"the estimator in {folder} is damaged ({error!r}); train again") from error


def _blend(names: Mapping[str, Any], arrays: Mapping[str, Any], heads: HeadWeights) -> Blend:
    experts = {kind: _expert(kind, names, arrays, heads) for kind in names["experts"]}
    measured_by = names.get("measured_by", ClusterExpert.kind)
    if isinstance(measured_by, str):  # an earlier version had one distance
        measured_by, arrays = [measured_by], {**arrays, "trust/distances": np.atleast_2d(arrays["trust/distances"])}
    return Blend(experts, arrays["weights"], arrays["means"], DistanceShrinkage(**under("trust/", arrays)), measured_by)


def _expert(kind: str, names: Mapping[str, Any], arrays: Mapping[str, Any], heads: HeadWeights) -> Expert:
    own = under(f"{kind}/", arrays)
    if kind == HeadExpert.kind:
        return HeadExpert(heads)
    if kind == CategoryExpert.kind:
        return CategoryExpert(own["means"], heads)
    if kind in _OF_KERNELS:
        categories = CategoryExpert(arrays["categories/means"], heads) if CategoryExpert.kind in names["experts"] else None
        return _OF_KERNELS[kind](**own, categories=categories)
    expert: Expert = _OF_ARRAYS[kind](**own)
    return expert


def _arrays(parts: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return the arrays of parts, except those that are None, by ``part/array``.

    The heads and the categories' means are left out of other parts, since they are saved once.
    """
    fields = {f"{part}/{name}": value for part, of in parts.items() if of is not None for name, value in attrs.asdict(of, recurse=False).items()}
    return {name: np.asarray(value) for name, value in fields.items() if not isinstance(value, HeadWeights | CategoryExpert | None)}
