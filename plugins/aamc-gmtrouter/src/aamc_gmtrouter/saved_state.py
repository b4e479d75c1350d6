"""The saved state: the files of a preference model, and the histories of users as JSON.

Queries are base64 of their float64 numbers, so a copy equals the original to the bit.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from aamc_gmtrouter.embedding import Reduction
from aamc_gmtrouter.history import UserHistory, UserJudgement
from aamc_gmtrouter.taste import SLOPE, PreferenceModel
from aamc_gmtrouter.taste.population import Population
from aamc_sdk.errors import CheckpointError
from aamc_sdk.messages import checkpoint_errors
from aamc_sdk.storage import read_arrays, read_json, under, write_arrays, write_json
from aamc_sdk.types import Floats

ARRAYS, NAMES = "model.npz", "gmtrouter.json"
FLAGS = {"hashed_words": bool, "graph_used": bool, "estimator": str}
"""Whether hashed words stand in for an estimator's embeddings, whether the graph network serves, and the fingerprint of the estimator."""
_FLOAT64 = np.dtype("<f8")


def write_model(folder: Path, model: PreferenceModel, contexts: Collection[str], flags: Mapping[str, Any]) -> None:
    """Write a model, the embeddings of some contexts, and the :data:`FLAGS`."""
    known = model.contexts(contexts)
    arrays = {f"reduction_{name}": values for name, values in attrs.asdict(model.reduction).items()}
    arrays |= {f"population_{name}": values for name, values in attrs.asdict(model.population).items()}
    arrays["slope"] = np.array(model.slope)
    arrays["traits"] = np.stack(list(model.traits.values()))
    arrays["contexts"] = np.array(list(known.values())).reshape(len(known), model.dimensions)
    write_arrays(folder / ARRAYS, arrays)
    write_json(folder / NAMES, {"names": list(model.names), "traits": list(model.traits), "contexts": list(known), **flags})


def read_model(folder: Path) -> tuple[PreferenceModel, dict[str, Any]]:
    """Return the model and the flags of :func:`write_model`.

    Raises:
        CheckpointError: A file is missing or damaged.
    """
    arrays, document = read_arrays(folder / ARRAYS), read_json(folder / NAMES)
    try:
        reduction, population = Reduction(**under("reduction_", arrays)), Population(**under("population_", arrays))
        model = PreferenceModel(reduction, document["names"], population, dict(zip(document["traits"], arrays["traits"], strict=True)))
        model.slope = float(arrays.get("slope", SLOPE))
        model.set_contexts(dict(zip(document["contexts"], arrays["contexts"], strict=True)))
        flags = {name: kind(document[name]) for name, kind in FLAGS.items()}
    except KeyError as error:
        raise CheckpointError(f"{folder} holds a state of gmtrouter without {error}; another version made it: train again") from error
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{folder} holds a damaged state of gmtrouter ({error!r}); train again") from error
    if not 0 < model.slope < np.inf:
        raise CheckpointError(f"{folder} holds a damaged state of gmtrouter (slope {model.slope}); train again")
    return model, flags


def packed(history: UserHistory) -> dict[str, Any]:
    """Return a history as a JSON document."""
    items = [[each.feedback, each.turn, each.session, each.better, each.worse, each.sign, _packed_query(each.query)] for each in history.judgements]
    return {"judgements": items, "context": history.context, "preferred": list(history.preferred)}


def unpacked(document: Mapping[str, Any]) -> UserHistory:
    """Return the history of :func:`packed`.

    Raises:
        CheckpointError: The document is damaged.
    """
    with checkpoint_errors("a user's history", "train again, or learn the log again", IndexError):
        rows = [[*item[:6], _unpacked_query(item[6])] for item in document["judgements"]]
        items = tuple(UserJudgement(*row) for row in rows)
        return UserHistory(items, str(document["context"]), tuple(map(str, document["preferred"])))


def _packed_query(query: Floats | None) -> str | None:
    return None if query is None else base64.b64encode(query.astype(_FLOAT64).tobytes()).decode()


def _unpacked_query(text: str | None) -> Floats | None:
    return None if text is None else np.frombuffer(base64.b64decode(text, validate=True), _FLOAT64).astype(np.float64)
