"""The heterogeneous graph of users' visible turns, as arrays.

| node | feature |
|---|---|
| user | reduced embedding of the context; zero without one, so that any number of new users can join |
| session | zero |
| query | reduced embedding of the turn's text |
| model | reduced embedding of the description |
| response | the rating, 1 or -1, and the rating times the model's embedding |

Edges run in both directions between user and session, session and query, query and response, response and model, user and preferred model; a
session and a query have an edge to the next one of the same user, and none to an earlier one. The graph of a prediction is built from earlier
turns alone, so no edge comes from the future. Users share no node: a user's state depends on nobody else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_gmtrouter.history import UserHistory, UserJudgement, last_turns
from aamc_gmtrouter.options import GMTRouterConfig
from aamc_gmtrouter.taste.model import PreferenceModel
from aamc_sdk.types import Floats

Edge = tuple[str, str, str]
NODES = ("user", "session", "query", "response", "model")
REVERSED: dict[Edge, Edge] = {
    ("user", "owns", "session"): ("session", "owned_by", "user"),
    ("session", "includes", "query"): ("query", "part_of", "session"),
    ("query", "answered_by", "response"): ("response", "answers", "query"),
    ("response", "generated_by", "model"): ("model", "generates", "response"),
    ("user", "prefers", "model"): ("model", "preferred_by", "user"),
}
"""The edges that run in both directions, with the name of the way back."""
NEXT = {kind: (kind, "next", kind) for kind in ("session", "query")}
"""The edges that lead forward in time alone."""
EDGES = (*REVERSED, *REVERSED.values(), *NEXT.values())


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


def user_graph(histories: Sequence[UserHistory], model: PreferenceModel, config: GMTRouterConfig) -> UserGraph:
    """Return the graph of the last ``record_per_user`` turns of each user, from reduced histories.

    With ``multi_turn`` sessions and queries have an edge to the next one. The model gives the reduced embeddings of models and contexts.
    """
    graph = _Graph(model, config.multi_turn)
    for history in histories:
        graph.add_user(history, last_turns(history.judgements, config.record_per_user))
    return graph.arrays()


class _Graph:
    """Collects nodes and edges, one user after the other."""

    def __init__(self, model: PreferenceModel, multi_turn: bool) -> None:
        self._model, self._multi_turn, self._zero = model, multi_turn, np.zeros(model.dimensions)
        self._rows: dict[str, list[Floats]] = {kind: [] for kind in NODES}
        self._links: dict[Edge, dict[tuple[int, int], None]] = {kind: {} for kind in (*REVERSED, *NEXT.values())}
        self._places: dict[tuple[str, str], int] = {}
        self._latest: dict[str, int] = {}
        self._session_user: list[int] = []
        self._last_session: list[int] = []

    def add_user(self, history: UserHistory, judgements: Sequence[UserJudgement]) -> None:
        """Add a user with these judgements."""
        self._places, self._latest = {}, {}
        user = self._node("user", "", self._model.context(history.context))
        for name in history.preferred:
            self._link(("user", "prefers", "model"), user, self._node("model", name, self._model.trait(name)))
        for each in judgements:
            self._add(user, each)
        self._session_user += [user] * (len(self._rows["session"]) - len(self._session_user))
        self._last_session.append(self._latest.get("session", -1))

    def _add(self, user: int, each: UserJudgement) -> None:
        """Add the rated answers of a judgement, and the session and the query that are not in the graph yet."""
        session = self._ordered_node("session", each.session or each.turn, self._zero)
        query = self._ordered_node("query", each.turn, self._zero if each.query is None else each.query)
        self._link(("user", "owns", "session"), user, session)
        self._link(("session", "includes", "query"), session, query)
        for name, side in each.sides:
            rating, trait = side * each.sign, self._model.trait(name)
            response = self._node("response", str(len(self._rows["response"])), np.concatenate(([rating], rating * trait)))
            self._link(("query", "answered_by", "response"), query, response)
            self._link(("response", "generated_by", "model"), response, self._node("model", name, trait))

    def _node(self, kind: str, name: str, feature: Floats) -> int:
        """Return the place of a node of the current user; a new one is added."""
        if (kind, name) not in self._places:
            self._places[kind, name] = len(self._rows[kind])
            self._rows[kind].append(feature)
        return self._places[kind, name]

    def _ordered_node(self, kind: str, name: str, feature: Floats) -> int:
        """Return the place of a session or a query; a new one follows the user's latest."""
        place, latest = self._node(kind, name, feature), self._latest.get(kind)
        if latest is not None and place > latest and self._multi_turn:
            self._link(NEXT[kind], latest, place)
        self._latest[kind] = place if latest is None else max(place, latest)
        return place

    def _link(self, kind: Edge, source: int, target: int) -> None:
        """Add an edge, once."""
        self._links[kind][source, target] = None

    def arrays(self) -> UserGraph:
        """Return the collected graph."""
        d = self._model.dimensions
        features = {kind: np.stack(found) if found else np.zeros((0, d + (kind == "response"))) for kind, found in self._rows.items()}
        forward = {kind: np.array(list(found), dtype=np.int64).reshape(-1, 2).T for kind, found in self._links.items()}
        edges = forward | {back: forward[kind][[1, 0]] for kind, back in REVERSED.items()}
        ordered = {kind: edges[kind] for kind in EDGES}
        return UserGraph(features, ordered, np.array(self._session_user, dtype=np.int64), np.array(self._last_session, dtype=np.int64))
