"""The histories of users, as text in JSON; queries are base64 of their float64 numbers, so a copy equals the original to the bit."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from aamc_gmtrouter.history import UserHistory, UserJudgement
from aamc_sdk.errors import CheckpointError
from aamc_sdk.types import Floats

_FLOAT64 = np.dtype("<f8")


def packed(history: UserHistory) -> dict[str, Any]:
    """Return a history as a JSON document."""
    items = [[each.feedback, each.turn, each.session, each.better, each.worse, each.sign, _packed_query(each.query)] for each in history.judgements]
    return {"judgements": items, "context": history.context, "preferred": list(history.preferred)}


def unpacked(document: Mapping[str, Any]) -> UserHistory:
    """Return the history of :func:`packed`.

    Raises:
        CheckpointError: The document is damaged.
    """
    try:
        rows = [[*item[:6], _unpacked_query(item[6])] for item in document["judgements"]]
        items = tuple(UserJudgement(*row) for row in rows)
        return UserHistory(items, str(document["context"]), tuple(map(str, document["preferred"])))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise CheckpointError(f"a user's history is damaged ({error!r}); train again, or learn the log again") from error


def _packed_query(query: Floats | None) -> str | None:
    return None if query is None else base64.b64encode(query.astype(_FLOAT64).tobytes()).decode()


def _unpacked_query(text: str | None) -> Floats | None:
    return None if text is None else np.frombuffer(base64.b64decode(text, validate=True), _FLOAT64).astype(np.float64)
