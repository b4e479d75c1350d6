"""The graph network: two layers of a heterogeneous graph transformer, and cross-attention of a candidate over user and query.

    h^0 = W_type feature;  h^l = LayerNorm(h^(l-1) + dropout(HGT(h^(l-1))))                                             (1)
    u = h^L_user + aggregated h^L of the user's sessions                                                              (2)
    g(u, q, m) = w . relu([attention(W x_m; W u, W q), W x_m])                                                         (3)

w starts at zero, so an untrained network adds nothing.

Papers: Hu et al. 2020, "Heterogeneous Graph Transformer" (arXiv 2003.01332); GMTRouter (arXiv 2511.08590).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aamc_gmtrouter.graph.user_graph import EDGES, NODES, UserGraph, user_graph
from aamc_gmtrouter.history import UserHistory, last_turns
from aamc_gmtrouter.options import GMTRouterConfig
from aamc_gmtrouter.taste.model import PreferenceModel
from aamc_sdk.types import Floats

with warnings.catch_warnings():  # PyTorch Geometric 2.8 uses torch.jit at import, which torch 2.13 deprecates
    warnings.simplefilter("ignore", DeprecationWarning)
    from torch_geometric.nn import HGTConv  # type: ignore[import-untyped]  # ships no types


class GraphNetwork(nn.Module):
    """The network of equations (1) to (3), for reduced embeddings of d ``dimensions``."""

    def __init__(self, config: GMTRouterConfig, dimensions: int) -> None:
        super().__init__()
        hidden, self.config = config.hidden, config
        self.inputs = nn.ModuleDict({name: nn.Linear(dimensions + (name == "response"), hidden) for name in NODES})
        self.layers = nn.ModuleList(HGTConv(hidden, hidden, (list(NODES), list(EDGES)), heads=config.heads) for _ in range(config.layers))
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(config.layers))
        self.dropout = nn.Dropout(config.dropout)
        self.query, self.candidate = nn.Linear(dimensions, hidden), nn.Linear(dimensions, hidden)
        self.attention = nn.MultiheadAttention(hidden, config.heads, batch_first=True)
        self.output = nn.Linear(2 * hidden, 1, bias=False)
        nn.init.zeros_(self.output.weight)

    def users(self, graph: UserGraph) -> Tensor:
        """Return the state of each user, equation (2), ``[U, hidden]``."""
        device = self.output.weight.device
        h = {name: self.inputs[name](tensor(found, device)) for name, found in graph.features.items()}
        edges = {kind: torch.from_numpy(found).to(device) for kind, found in graph.edges.items()}
        for layer, norm in zip(self.layers, self.norms, strict=True):
            out = layer(h, edges)
            h = {name: norm(state + self.dropout(out[name])) for name, state in h.items()}
        found: Tensor = h["user"] + self._aggregated(h["session"], graph)
        return found

    def _aggregated(self, sessions: Tensor, graph: UserGraph) -> Tensor:
        """Return the mean or the last of each user's session states; zeros without sessions."""
        users = len(graph.last_session)
        found = sessions.new_zeros((users, sessions.shape[1]))
        if not len(sessions):
            return found
        owner = torch.from_numpy(graph.session_user).to(sessions.device)
        if self.config.aggregation == "last":
            last = torch.from_numpy(graph.last_session).to(sessions.device)
            known = last >= 0
            return found.index_copy(0, known.nonzero()[:, 0], sessions[last[known]])
        counts = found.new_zeros(users).index_add(0, owner, found.new_ones(len(owner)))
        return found.index_add(0, owner, sessions) / counts.clamp(min=1)[:, None]

    def forward(self, users: Tensor, queries: Tensor, candidates: Tensor) -> Tensor:
        """Return the scores g ``[B, M]`` of candidates ``[B, M, d]`` for user states ``[B, hidden]`` and queries ``[B, d]``."""
        context = torch.stack((users, self.query(queries)), dim=1)
        target = self.candidate(candidates)
        attended, _ = self.attention(target, context, context, need_weights=False)
        found: Tensor = self.output(self.dropout(torch.relu(torch.cat((attended, target), dim=2))))
        return found[:, :, 0]


def tensor(values: Floats, device: torch.device) -> Tensor:
    """Return values on a device, in single precision."""
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).to(device)


class ServedNetwork:
    """A trained network, given its parameters by name, for one user at a time."""

    def __init__(self, config: GMTRouterConfig, dimensions: int, parameters: Mapping[str, NDArray[np.float32]]) -> None:
        self._network = GraphNetwork(config, dimensions)
        self._network.load_state_dict({name: torch.from_numpy(np.array(values)) for name, values in parameters.items()})
        self._network.eval()

    @torch.no_grad()
    def user_state(self, history: UserHistory, model: PreferenceModel) -> Tensor:
        """Return the state of a user from their own turns, ``[1, hidden]``."""
        return self._network.users(user_graph([history], model, self._network.config))

    @torch.no_grad()
    def states_without(self, history: UserHistory, model: PreferenceModel) -> tuple[Sequence[str], Tensor]:
        """Return the T turns that a user's state is made from, and the state without each of them, ``[T, hidden]``."""
        config = self._network.config
        seen = attrs.evolve(history, judgements=last_turns(history.judgements, config.record_per_user))
        rest = [attrs.evolve(seen, judgements=tuple(each for each in seen.judgements if each.turn != turn)) for turn in seen.turns]
        return seen.turns, self._network.users(user_graph(rest, model, config))

    @torch.no_grad()
    def influence(self, state: Tensor, without: Tensor, query: Floats, candidates: Floats) -> Floats:
        """Return by how much each of T turns moves the score of the first of two candidates ``[2, d]`` above the second's, ``[T]``.

        ``without`` holds the user's states without each turn, ``[T, hidden]``; the query is ``[d]``.
        """
        users, device = torch.cat((state, without)), state.device
        found = self._network(users, tensor(query, device).expand(len(users), -1), tensor(candidates, device).expand(len(users), -1, -1))
        margin = (found[:, 0] - found[:, 1]).double().numpy()
        return np.asarray(margin[0] - margin[1:])

    @torch.no_grad()
    def scores(self, state: Tensor, query: Floats, candidates: Floats) -> Floats:
        """Return the scores ``[M]`` of candidates ``[M, d]`` for a query ``[d]``."""
        device = state.device
        found = self._network(state, tensor(query, device)[None], tensor(candidates, device)[None])
        return np.asarray(found[0].double().numpy())


def parameters_of(network: GraphNetwork) -> dict[str, NDArray[np.float32]]:
    """Return a network's parameters as arrays."""
    return {name: values.detach().cpu().numpy().copy() for name, values in network.state_dict().items()}
