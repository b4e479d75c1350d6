"""Training of the graph network on top of the preference model.

In each step every user's history is cut at a random turn: up to ``record_per_user`` turns before the cut are visible, pairs after it are
predicted. The loss of a pair is softplus(-(s1 - s2)), where s is the preference model's utility given the visible turns plus the network's
score. The network is used only if its best checkpoint lowers the loss of held-out users by more than 1.645 standard errors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aamc_gmtrouter.graph.network import GraphNetwork, _tensor, parameters_of
from aamc_gmtrouter.graph.user_graph import user_graph
from aamc_gmtrouter.history import UserHistory, last_turns
from aamc_gmtrouter.options import GMTRouterConfig
from aamc_gmtrouter.taste.model import PreferenceModel
from aamc_sdk.interfaces import Progress
from aamc_sdk.types import Floats

USERS_PER_STEP = 64
"""Maximum number of users in a step."""
HELD_OUT_SHARE, MIN_HELD_OUT = 0.2, 10
"""Share of training users held out where fewer validation users than this are given."""
PATIENCE = 5
"""Validations without a lower loss after which training ends."""
SIGNIFICANT = 1.645
"""Standard errors by which the loss of held-out users must fall."""


@attrs.frozen(eq=False)
class TrainedGraph:
    """The result of training.

    Attributes:
        best: Parameters with the lowest held-out loss.
        last: Parameters of the last step.
        used: Whether the best ones improve held-out users.
        figures: Losses, gain and curve.
    """

    best: Mapping[str, NDArray[np.float32]]
    last: Mapping[str, NDArray[np.float32]]
    used: bool
    figures: Mapping[str, Any]


@attrs.frozen(eq=False)
class _Batch:
    """Visible histories of users, and the pairs to predict: margins of the preference model ``[N]``, candidates ``[N, 2, d]``, queries ``[N, d]``."""

    visible: list[UserHistory]
    user: NDArray[np.int64]
    margin: Floats
    candidates: Floats
    query: Floats


def train_graph(
    config: GMTRouterConfig,
    model: PreferenceModel,
    users: Sequence[UserHistory],
    validation: Sequence[UserHistory],
    seed: int,
    device: str,
    progress: Progress,
) -> TrainedGraph:
    """Train the network on users' reduced histories; see the module."""
    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    users, held_out = _held_out(users, validation, draw)
    network = GraphNetwork(config, model.dimensions).to(device)
    optimiser = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    cuts = [_batch(config, model, held_out, lambda turns, share=share: int(turns * share), 10**9) for share in (0.25, 0.5)]
    fixed = [batch for batch in cuts if batch is not None]
    before = _losses(network, config, model, fixed, len(held_out))
    best, best_losses, curve = parameters_of(network), before, [_point(0, before)]
    waited = 0
    progress.start("training the graph network", config.steps)
    for step in range(1, config.steps + 1):
        chosen = [users[place] for place in draw.permutation(len(users))[:USERS_PER_STEP]]
        batch = _batch(config, model, chosen, lambda turns: int(draw.integers(0, turns)), config.prediction_count)
        if batch is not None:
            _update(network, optimiser, config, model, batch)
        if step % config.evaluate_every == 0 or step == config.steps:
            losses = _losses(network, config, model, fixed, len(held_out))
            curve.append(_point(step, losses))
            waited += 1
            if len(losses) and losses.mean() < best_losses.mean():
                best, best_losses, waited = parameters_of(network), losses, 0
            if waited >= PATIENCE:
                break
        progress.advance(1)
    figures = {**_gain_figures(before - best_losses), "curve": curve}
    return TrainedGraph(best, parameters_of(network), bool(figures["graph_used"]), figures)


def _update(network: GraphNetwork, optimiser: torch.optim.Optimizer, config: GMTRouterConfig, model: PreferenceModel, batch: _Batch) -> None:
    """Take one step down the loss of a batch."""
    network.train()
    loss = torch.nn.functional.softplus(-_margins(network, config, model, batch)).mean()
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]  # torch ships no types for it
    optimiser.step()


def _point(step: int, losses: Floats) -> dict[str, float]:
    """Return a point of the curve; the loss is NaN without held-out pairs."""
    return {"step": step, "loss": float(np.mean(losses)) if len(losses) else math.nan}


def _gain_figures(gain: Floats) -> dict[str, Any]:
    """Return whether the network is used, by the fall of each held-out user's loss, with its mean and standard error."""
    error = float(np.std(gain, ddof=1) / np.sqrt(len(gain))) if len(gain) > 1 else math.inf
    mean = float(gain.mean()) if len(gain) else 0.0
    return {
        "graph_used": len(gain) >= MIN_HELD_OUT // 2 and mean > SIGNIFICANT * error,
        "graph_gain": mean,
        "graph_gain_error": error if math.isfinite(error) else None,
        "held_out_users": len(gain),
    }


def _held_out(
    users: Sequence[UserHistory], validation: Sequence[UserHistory], draw: np.random.Generator
) -> tuple[list[UserHistory], list[UserHistory]]:
    """Return training and held-out users."""
    held, rest = list(validation), list(users)
    if len(held) < MIN_HELD_OUT and len(rest) > 1:
        order, count = draw.permutation(len(rest)), max(1, round(HELD_OUT_SHARE * len(rest)))
        held += [rest[place] for place in order[:count]]
        rest = [rest[place] for place in order[count:]]
    return rest, held


def _batch(config: GMTRouterConfig, model: PreferenceModel, users: Sequence[UserHistory], cut_of: Any, count: int) -> _Batch | None:
    """Cut each history and collect the pairs after the cut, at most ``count`` in all; None without any."""
    visible, owners, later = [], [], []
    each_count = max(1, count // max(len(users), 1))
    for user, history in enumerate(users):
        turns = history.turns
        cut = set(turns[: cut_of(max(len(turns), 1))])
        seen = [each for each in history.judgements if each.turn in cut]
        visible.append(attrs.evolve(history, judgements=last_turns(seen, config.record_per_user)))
        predicted = [each for each in history.judgements if each.turn not in cut][:each_count]
        later += predicted
        owners += [user] * len(predicted)
    if not later:
        return None
    vectors = [model.user_vector(history, model.context(history.context)) for history in visible]
    names = [(each.better, each.worse) if each.sign > 0 else (each.worse, each.better) for each in later]
    candidates = np.stack([[model.trait(name) for name in pair] for pair in names])
    query = np.stack([np.zeros(model.dimensions) if each.query is None else each.query for each in later])
    margin = np.array([model.margin(vectors[user], each) for user, each in zip(owners, later, strict=True)])
    return _Batch(visible, np.array(owners), margin, candidates, query)


def _margins(network: GraphNetwork, config: GMTRouterConfig, model: PreferenceModel, batch: _Batch) -> Tensor:
    device = network.output.weight.device
    states = network.users(user_graph(batch.visible, model.traits, model.dimensions, config.record_per_user, multi_turn=config.multi_turn))
    scores = network(states[torch.from_numpy(batch.user).to(device)], _tensor(batch.query, device), _tensor(batch.candidates, device))
    margins: Tensor = _tensor(batch.margin, device) + scores[:, 0] - scores[:, 1]
    return margins


@torch.no_grad()
def _losses(network: GraphNetwork, config: GMTRouterConfig, model: PreferenceModel, batches: Sequence[_Batch], users: int) -> Floats:
    """Return the mean loss of each user with predicted pairs."""
    network.eval()
    total, pairs = np.zeros(users), np.zeros(users)
    for batch in batches:
        loss = torch.nn.functional.softplus(-_margins(network, config, model, batch)).double().cpu().numpy()
        np.add.at(total, batch.user, loss)
        np.add.at(pairs, batch.user, 1)
    known = pairs > 0
    return np.asarray(total[known] / pairs[known])
