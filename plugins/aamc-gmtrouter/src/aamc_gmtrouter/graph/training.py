"""Training of the graph network, on top of the preference model or alone.

In each step every user's history is cut after a random number of turns, at most ``record_per_user``. Turns before the cut are visible, pairs
after it are predicted. The loss of a pair is softplus(-(s1 - s2)), where s is the preference model's utility given the visible turns plus the
network's score. On top of the preference model, the network is used only if its best checkpoint lowers the loss of held-out users significantly:
by a t-test at 5% over the users, divided by the number of validations, since the best of them is tested on the users that chose it.

A step's random draws depend on the seed and the step's number alone, so a checkpoint holds no generator's state, and a training that was
interrupted ends like one that was not.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import stdtrit  # type: ignore[import-untyped]  # scipy ships no types
from torch import Tensor

from aamc_gmtrouter.graph.network import GraphNetwork, parameters_of, tensor
from aamc_gmtrouter.graph.user_graph import UserGraph, user_graph
from aamc_gmtrouter.history import UserHistory, UserJudgement, last_turns
from aamc_gmtrouter.options import GMTRouterConfig
from aamc_gmtrouter.taste.model import PreferenceModel
from aamc_sdk import Services, Training
from aamc_sdk.messages import checkpoint_errors
from aamc_sdk.storage import load_training_checkpoint, save_training_checkpoint, under
from aamc_sdk.types import Floats

logger = logging.getLogger(__name__)
USERS_PER_STEP = 64
"""Maximum number of users in a step."""
HELD_OUT_SHARE, MIN_HELD_OUT = 0.2, 10
"""Share of training users held out where fewer validation users than this are given."""
HELD_OUT_TURNS = (1, 3, 10)
"""Numbers of a held-out user's turns that are visible; at most half of them."""
LEVEL = 0.05
"""Maximum probability that a network without any effect is used."""
_ALL_PAIRS = 10**9


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
    def of_histories(
        cls, model: PreferenceModel, users: Sequence[UserHistory], first_predicted: Callable[[int], int], config: GMTRouterConfig
    ) -> PredictionBatch | None:
        """Divide each history in time: the earlier turns are visible, pairs of the later ones are predicted; None if no pair is left.

        ``first_predicted`` returns the first predicted turn, given the number of turns.
        """
        visible, owners, later = list[UserHistory](), list[int](), list[UserJudgement]()
        pairs_per_user = max(1, config.prediction_count // max(len(users), 1))
        for user, history in enumerate(users):
            turns = history.turns
            before = set(turns[: first_predicted(max(len(turns), 1))])
            seen = [each for each in history.judgements if each.turn in before]
            visible.append(attrs.evolve(history, judgements=last_turns(seen, config.record_per_user)))
            predicted = [each for each in history.judgements if each.turn not in before][:pairs_per_user]
            later += predicted
            owners += [user] * len(predicted)
        later, owners = later[: config.prediction_count], owners[: config.prediction_count]  # it may be below the number of users
        if not later:
            return None
        vectors = [model.user_vector(history) for history in visible]
        names = [(each.better, each.worse) if each.sign > 0 else (each.worse, each.better) for each in later]
        return cls(
            graph=user_graph(visible, model, config),
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


@attrs.frozen(eq=False)
class TrainedGraph:
    """The result of training.

    Attributes:
        best: Parameters with the lowest held-out loss; without held-out pairs the last ones.
        last: Parameters of the last step.
        used: Whether the best ones serve.
        figures: Losses, gain and curve.
    """

    best: Mapping[str, NDArray[np.float32]]
    last: Mapping[str, NDArray[np.float32]]
    used: bool
    figures: Mapping[str, Any]


class GraphTraining:
    """One training of the network, on the reduced histories of training and validation users."""

    def __init__(
        self,
        config: GMTRouterConfig,
        model: PreferenceModel,
        users: Sequence[UserHistory],
        validation: Sequence[UserHistory],
        services: Services,
        training: Training,
    ) -> None:
        self._config, self._model, self._services, self._training = config, model, services, training
        self._users, self._held_out = _held_out(users, validation, np.random.default_rng(services.seed))
        torch.manual_seed(services.seed)
        self._network = GraphNetwork(config, model.dimensions).to(_device(services.device))
        self._optimiser = torch.optim.Adam(self._network.parameters(), lr=config.learning_rate)
        self._fixed = self._held_out_batches()
        self._step, self._waited = 0, 0
        self._best, self._best_losses = parameters_of(self._network), self._losses()
        self._first_losses, self._curve = self._best_losses, [self._point(self._best_losses)]

    def run(self) -> TrainedGraph:
        """Train to the end, with a checkpoint after each validation.

        Raises:
            CheckpointError: The training is to be resumed, and its checkpoint is damaged or of other options, seed or users.
        """
        config, progress = self._config, self._training.progress
        if self._training.resume and (found := load_training_checkpoint(self._training.folder, self._made_for())) is not None:
            self._restore(found.arrays, found.path)
            self._step, self._curve = found.done, found.curve
        progress.start("training the graph network", config.steps)
        progress.advance(self._step)
        while self._step < config.steps and (not config.patience or self._waited < config.patience):
            self._update()
            if self._step % config.evaluate_every == 0 or self._step == config.steps:
                self._validate()
                save_training_checkpoint(self._training.folder, self._state(), self._step, self._curve, self._made_for())
            progress.advance(1)
        return self._trained()

    def _trained(self) -> TrainedGraph:
        """Return both checkpoints, and whether the fall of the held-out users' losses is significant."""
        gain = self._first_losses - self._best_losses
        mean = float(gain.mean()) if len(gain) else 0.0
        error = float(np.std(gain, ddof=1) / np.sqrt(len(gain))) if len(gain) > 1 else math.inf
        validations = max(1, math.ceil(self._config.steps / self._config.evaluate_every))
        used = self._config.model == "graph" or (len(gain) >= MIN_HELD_OUT // 2 and mean > needed_errors(len(gain), validations) * error)
        if used and len(gain) and not mean > 0:
            logger.warning(
                "no validation of the graph network has a lower loss than the untrained network, so this one serves and gives all models the "
                "same score; train on more users, or with model=combined or model=preference"
            )
        figures = {"graph_gain": mean, "graph_gain_error": error if math.isfinite(error) else None, "held_out_users": len(gain)}
        return TrainedGraph(self._best, parameters_of(self._network), used, {"graph_used": used, **figures, "curve": self._curve})

    def _update(self) -> None:
        """Take one step down the loss of a batch."""
        self._step += 1
        draw = np.random.default_rng((self._services.seed, self._step))
        torch.manual_seed(int(draw.integers(2**31)))  # of dropout
        chosen = [self._users[place] for place in draw.permutation(len(self._users))[:USERS_PER_STEP]]
        most = self._config.record_per_user
        batch = PredictionBatch.of_histories(self._model, chosen, lambda turns: int(draw.integers(min(turns, most + 1))), self._config)
        if batch is None:
            return
        self._network.train()
        loss = torch.nn.functional.softplus(-batch.margins(self._network)).mean()
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch ships no types for it
        self._optimiser.step()

    def _validate(self) -> None:
        """Measure the held-out loss, and keep the parameters with the lowest one; without held-out pairs the last ones."""
        losses = self._losses()
        self._curve.append(self._point(losses))
        self._waited += 1
        if not len(losses) or losses.mean() < self._best_losses.mean():
            self._best, self._best_losses, self._waited = parameters_of(self._network), losses, 0

    def _held_out_batches(self) -> list[PredictionBatch]:
        """Return the fixed batches of held-out users, one for each number of visible turns."""
        config = attrs.evolve(self._config, prediction_count=_ALL_PAIRS)
        found = [
            PredictionBatch.of_histories(self._model, self._held_out, lambda turns, visible=visible: min(visible, turns // 2), config)  # type: ignore[misc]  # a default
            for visible in HELD_OUT_TURNS
        ]
        return [batch for batch in found if batch is not None]

    @torch.no_grad()
    def _losses(self) -> Floats:
        """Return the mean loss of each held-out user with predicted pairs."""
        self._network.eval()
        total, pairs = np.zeros(len(self._held_out)), np.zeros(len(self._held_out))
        for batch in self._fixed:
            loss = torch.nn.functional.softplus(-batch.margins(self._network)).double().cpu().numpy()
            np.add.at(total, batch.user, loss)
            np.add.at(pairs, batch.user, 1)
        known = pairs > 0
        return np.asarray(total[known] / pairs[known])

    def _point(self, losses: Floats) -> dict[str, float]:
        """Return a point of the curve; the loss is NaN without held-out pairs."""
        return {"step": self._step, "loss": float(np.mean(losses)) if len(losses) else math.nan}

    # Checkpoints

    def _made_for(self) -> dict[str, Any]:
        """Return the settings that a resumed training must share with its checkpoint, in JSON's types."""
        return {
            "options": attrs.asdict(self._config),
            "seed": self._services.seed,
            "pool": list(self._services.pool.names),
            "users": len(self._users),
        }

    def _state(self) -> dict[str, NDArray[Any]]:
        """Return parameters, the best ones, Adam's moments, and the state of early stopping."""
        arrays: dict[str, NDArray[Any]] = {f"network/{name}": values for name, values in parameters_of(self._network).items()}
        arrays |= {f"best/{name}": values for name, values in self._best.items()}
        for place, moments in self._optimiser.state_dict()["state"].items():
            arrays |= {f"adam/{place}/{name}": values.detach().cpu().numpy() for name, values in moments.items()}
        return {**arrays, "best_losses": self._best_losses, "waited": np.array(self._waited)}

    def _restore(self, arrays: Mapping[str, NDArray[Any]], path: Path) -> None:
        """Restore the result of :meth:`_state`."""
        with checkpoint_errors(path, "delete it and train again", RuntimeError):
            self._network.load_state_dict({name: torch.from_numpy(values) for name, values in under("network/", arrays).items()})
            moments: dict[int, dict[str, torch.Tensor]] = {}
            for key, values in under("adam/", arrays).items():
                place, _, name = key.partition("/")
                moments.setdefault(int(place), {})[name] = torch.from_numpy(values)
            self._optimiser.load_state_dict({**self._optimiser.state_dict(), "state": moments})
            self._best, self._best_losses, self._waited = under("best/", arrays), arrays["best_losses"], int(arrays["waited"])


def needed_errors(users: int, validations: int) -> float:
    """Return the standard errors by which the loss of held-out users must fall, with Bonferroni's correction for the number of validations."""
    return float(stdtrit(users - 1, 1 - LEVEL / validations))


def _device(wanted: str) -> str:
    return ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted


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
