"""The files of a preference model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import attrs
import numpy as np

from aamc_gmtrouter.embedding import Reduction
from aamc_gmtrouter.taste import PreferenceModel
from aamc_gmtrouter.taste.population import Population
from aamc_sdk.errors import CheckpointError
from aamc_sdk.storage import read_arrays, read_json, write_arrays, write_json

ARRAYS, NAMES = "model.npz", "gmtrouter.json"
FLAGS = ("hashed_words", "graph_used")
"""Whether hashed words stand in for an estimator's embeddings, and whether the graph network serves."""


def write_model(folder: Path, model: PreferenceModel, contexts: Collection[str], flags: Mapping[str, bool]) -> None:
    """Write a model, the embeddings of some contexts, and the :data:`FLAGS`."""
    known = model.contexts(contexts)
    arrays = {f"reduction_{name}": values for name, values in attrs.asdict(model.reduction).items()}
    arrays |= {f"population_{name}": values for name, values in attrs.asdict(model.population).items()}
    arrays["traits"] = np.stack(list(model.traits.values()))
    arrays["contexts"] = np.array(list(known.values())).reshape(len(known), model.dimensions)
    write_arrays(folder / ARRAYS, arrays)
    write_json(folder / NAMES, {"names": list(model.names), "traits": list(model.traits), "contexts": list(known), **flags})


def read_model(folder: Path) -> tuple[PreferenceModel, dict[str, bool]]:
    """Return the model and the flags of :func:`write_model`.

    Raises:
        CheckpointError: A file is missing or damaged.
    """
    arrays, document = read_arrays(folder / ARRAYS), read_json(folder / NAMES)
    try:
        reduction = Reduction(*(arrays[f"reduction_{field.name}"] for field in attrs.fields(Reduction)))
        population = Population(*(arrays[f"population_{field.name}"] for field in attrs.fields(Population)))
        model = PreferenceModel(reduction, document["names"], population, dict(zip(document["traits"], arrays["traits"], strict=True)))
        model.set_contexts(dict(zip(document["contexts"], arrays["contexts"], strict=True)))
        flags = {name: bool(document[name]) for name in FLAGS}
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder} holds a damaged state of gmtrouter ({error!r}); train again") from error
    return model, flags
