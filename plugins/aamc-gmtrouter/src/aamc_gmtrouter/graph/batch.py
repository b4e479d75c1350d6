"""The data of one training step: users' visible turns, and pairs of answers to predict after them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aamc_gmtrouter.graph.network import GraphNetwork, tensor
from aamc_gmtrouter.graph.user_graph import UserGraph, user_graph
from aamc_gmtrouter.history import UserHistory, UserJudgement, last_turns
from aamc_gmtrouter.taste.model import PreferenceModel
from aamc_sdk.types import Floats


@attrs.frozen(eq=False)
class PredictionBatch:
    """N pairs to predict, and the graph of the visible turns.

    Attributes:
        graph: The visible turns of each user.
        user: The user of each pair, ``[N]``.
        margin: The preference model's utility of the better above the worse answer, given the visible turns, ``[N]``.
        candidates: Reduced embeddings of the better and the worse model, ``[N, 2, d]``.
        query: ``[N, d]``.
    """

    graph: UserGraph
    user: NDArray[np.int64]
    margin: Floats
    candidates: Floats
    query: Floats

    @classmethod
    def cut(
        cls, model: PreferenceModel, users: Sequence[UserHistory], first_predicted: Callable[[int], int], limits: BatchLimits
    ) -> PredictionBatch | None:
        """Cut each history: turns before the cut are visible, pairs from it on are predicted.

        Args:
            model: The preference model.
            users: Reduced histories.
            first_predicted: Returns the first predicted turn, given the number of turns.
            limits: How much is taken.

        Returns:
            The batch; None if no pair is left to predict.
        """
        visible, owners, later = list[UserHistory](), list[int](), list[UserJudgement]()
        pairs_per_user = max(1, limits.prediction_count // max(len(users), 1))
        for user, history in enumerate(users):
            turns = history.turns
            before = set(turns[: first_predicted(max(len(turns), 1))])
            seen = [each for each in history.judgements if each.turn in before]
            visible.append(attrs.evolve(history, judgements=last_turns(seen, limits.record_per_user)))
            predicted = [each for each in history.judgements if each.turn not in before][:pairs_per_user]
            later += predicted
            owners += [user] * len(predicted)
        if not later:
            return None
        vectors = [model.user_vector(history, model.context(history.context)) for history in visible]
        names = [(each.better, each.worse) if each.sign > 0 else (each.worse, each.better) for each in later]
        return cls(
            graph=user_graph(visible, model, limits.record_per_user, multi_turn=limits.multi_turn),
            user=np.array(owners),
            margin=np.array([model.margin(vectors[user], each) for user, each in zip(owners, later, strict=True)]),
            candidates=np.stack([[model.trait(name) for name in pair] for pair in names]),
            query=np.stack([np.zeros(model.dimensions) if each.query is None else each.query for each in later]),
        )

    def margins(self, network: GraphNetwork) -> Tensor:
        """Return the margins with the network's scores added, ``[N]``."""
        device = network.output.weight.device
        states = network.users(self.graph)[torch.from_numpy(self.user).to(device)]
        scores = network(states, tensor(self.query, device), tensor(self.candidates, device))
        margins: Tensor = tensor(self.margin, device) + scores[:, 0] - scores[:, 1]
        return margins


@attrs.frozen
class BatchLimits:
    """The limits of a batch.

    Attributes:
        record_per_user: Maximum number of a user's visible turns.
        prediction_count: Maximum number of predicted pairs of all users.
        multi_turn: Whether sessions and queries have an edge to the next one.
    """

    record_per_user: int
    prediction_count: int
    multi_turn: bool
