"""The heterogeneous graph of users' visible turns, as arrays.

| node | feature |
|---|---|
| user, session | zero, so that any number of new ones can join |
| query | reduced embedding of the turn's text |
| model | reduced embedding of the description |
| response | the rating, 1 or -1, and the rating times the model's embedding |

Edges run in both directions between user and session, session and query, query and response, response and model; a session and a query have an
edge to the next one of the same user, and none to an earlier one. The graph of a prediction is built from earlier turns alone, so no edge comes
from the future. Users share no node: a user's state depends on nobody else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_gmtrouter.history import UserHistory, last_turns
from aamc_sdk.types import Floats

NODES = ("user", "session", "query", "response", "model")
EDGES = (
    ("user", "owns", "session"),
    ("session", "owned_by", "user"),
    ("session", "includes", "query"),
    ("query", "part_of", "session"),
    ("query", "answered_by", "response"),
    ("response", "answers", "query"),
    ("response", "generated_by", "model"),
    ("model", "generates", "response"),
    ("session", "next", "session"),
    ("query", "next", "query"),
)
Edge = tuple[str, str, str]


@attrs.frozen(eq=False)
class UserGraph:
    """The disjoint graphs of several users.

    Attributes:
        features: Features by node type, ``[n, d]``; of responses ``[n, 1 + d]``.
        edges: Source and target of each edge by type, ``[2, e]``.
        session_user: The user of each session.
        last_session: The last session of each user; -1 without any.
    """

    features: Mapping[str, Floats]
    edges: Mapping[Edge, NDArray[np.int64]]
    session_user: NDArray[np.int64]
    last_session: NDArray[np.int64]


def user_graph(
    histories: Sequence[UserHistory], traits: Mapping[str, Floats], dimensions: int, record_per_user: int, *, multi_turn: bool
) -> UserGraph:
    """Return the graph of users' last turns.

    Args:
        histories: Reduced histories.
        traits: Reduced embedding of each model, by name.
        dimensions: d.
        record_per_user: Maximum number of turns of a user.
        multi_turn: Whether sessions and queries have an edge to the next one.
    """
    rows: dict[str, list[Floats]] = {name: [] for name in NODES}
    links: dict[str, list[tuple[int, int]]] = {"us": [], "sq": [], "qr": [], "rm": [], "ss": [], "qq": []}
    session_user, last_session, zero = [], [], np.zeros(dimensions)
    for user, history in enumerate(histories):
        rows["user"].append(zero)
        sessions, queries, models = dict[str, int](), dict[str, int](), dict[str, int]()
        for each in last_turns(history.judgements, record_per_user):
            name = each.session or each.turn
            if name not in sessions:
                if multi_turn and sessions:
                    links["ss"].append((len(rows["session"]) - 1, len(rows["session"])))
                sessions[name] = len(rows["session"])
                rows["session"].append(zero)
                session_user.append(user)
                links["us"].append((user, sessions[name]))
            if each.turn not in queries:
                if multi_turn and queries:
                    links["qq"].append((len(rows["query"]) - 1, len(rows["query"])))
                queries[each.turn] = len(rows["query"])
                rows["query"].append(zero if each.query is None else each.query)
                links["sq"].append((sessions[name], queries[each.turn]))
            for model, rating in ((each.better, each.sign), (each.worse, -each.sign)):
                if model is None:
                    continue
                trait = traits.get(model, zero)
                if model not in models:
                    models[model] = len(rows["model"])
                    rows["model"].append(trait)
                links["qr"].append((queries[each.turn], len(rows["response"])))
                links["rm"].append((len(rows["response"]), models[model]))
                rows["response"].append(np.concatenate(([rating], rating * trait)))
        last_session.append(len(rows["session"]) - 1 if sessions else -1)
    widths = {name: dimensions + (name == "response") for name in NODES}
    features = {name: np.stack(found) if found else np.zeros((0, widths[name])) for name, found in rows.items()}
    return UserGraph(features, _edges(links), np.array(session_user, dtype=np.int64), np.array(last_session, dtype=np.int64))


def _edges(links: Mapping[str, list[tuple[int, int]]]) -> dict[Edge, NDArray[np.int64]]:
    arrays = {name: np.array(found, dtype=np.int64).reshape(-1, 2).T for name, found in links.items()}
    both = [arrays["us"], arrays["us"][::-1], arrays["sq"], arrays["sq"][::-1], arrays["qr"], arrays["qr"][::-1], arrays["rm"], arrays["rm"][::-1]]
    return dict(zip(EDGES, [np.ascontiguousarray(each) for each in (*both, arrays["ss"], arrays["qq"])], strict=True))
