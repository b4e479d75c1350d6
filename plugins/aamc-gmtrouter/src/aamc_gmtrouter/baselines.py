"""Simple routers that learn from users' judgements, to compare ``gmtrouter`` with.

| router | score of model m for user u |
|---|---|
| ``bradley-terry`` | the strength of m in all judgements (Bradley and Terry 1952); the same for all users |
| ``user-elo`` | Elo rating of all users, moved toward the user's own by n / (n + 10) after n own judgements |
| ``user-ridge`` | ridge regression of the user's own judgements on models: +1 for the better one, -1 for the worse one |
"""

from __future__ import annotations

import abc
import itertools
import logging
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from aamc_experiments.typical_outcomes import Vote, bradley_terry

from aamc_gmtrouter.history import UserHistory, UserJudgement, histories, history_changes, keep_history, row_histories, user_key, users_of
from aamc_gmtrouter.saved_state import packed, unpacked
from aamc_sdk import Experience, OnlineRouter, Query, RoutingRequest, Scores, Services, Store, Training, option
from aamc_sdk.storage import read_json, write_json
from aamc_sdk.types import Floats

logger = logging.getLogger(__name__)
AVERAGE = ""
"""The name of the average model, which a rating compares with."""
ELO_STEP, ELO_SCALE = 32.0, 400.0
"""Elo's K and scale; on the logistic scale a rating of 400 is ln 10."""


@attrs.frozen(kw_only=True)
class UserBaselineConfig:
    """Options of the baselines."""

    history: int = option(64, "Number of latest turns of a user that the router keeps.", at_least=1)
    shrinkage: float = option(10.0, "user-elo: pieces of own feedback at which half of the difference to all users counts.", above=0)
    penalty: float = option(1.0, "user-ridge: penalty on squared weights.", above=0)


class UserBaseline(OnlineRouter):
    """Keeps the training users' judgements, and each served user's own."""

    Config = UserBaselineConfig
    snapshots = True
    uses_preference = False
    uses_estimates = False
    config: UserBaselineConfig

    def __init__(self, config: UserBaselineConfig, services: Services) -> None:
        super().__init__(config, services)
        self._lock = threading.Lock()
        self._common: dict[str, float] = {}
        self._users: dict[str, UserHistory] = {}

    def score(self, request: RoutingRequest) -> Scores:
        """Score the candidates by name."""
        known = [self._users.get(user_key(query) or "", UserHistory()) for query in request.queries]
        return Scores(np.reshape([self.own(history.judgements, request.pool.names) for history in known], request.mask.shape))

    def train(self, training: Training) -> Mapping[str, Any]:
        """Fit the scores that all users share."""
        dataset, limit = training.dataset, self.config.history
        found = {} if dataset.experience is None else histories(dataset.experience, limit)
        if not found and (known := users_of(dataset)):
            unknown, rng = np.full((len(dataset), 1), np.nan), np.random.default_rng(self.services.seed)
            rows = row_histories(dataset, self.services.pool.names, unknown, rng, limit)
            found = {name: history for name, history in rows.items() if name in known}
        if not found:
            why = "has no judgement of a user, so all models have equal scores for users without ratings of their own"
            logger.warning("%s %s", training.dataset.source, why)
        in_turn = itertools.zip_longest(*(history.judgements for history in found.values()))  # Elo ratings follow the last judgements
        self._common = self.fit_common([each for of_users in in_turn for each in of_users if each is not None])
        own = {name: tuple(attrs.evolve(each, query=None) for each in history.judgements) for name, history in found.items()}
        self._users = {name: UserHistory(judgements) for name, judgements in own.items()}
        return {"users": len(found)}

    def fit_common(self, items: list[UserJudgement]) -> dict[str, float]:
        """Return the score of each model in the judgements of all users."""
        return {}

    @abc.abstractmethod
    def own(self, items: tuple[UserJudgement, ...], names: tuple[str, ...]) -> Floats:
        """Return scores ``[M]`` for a user with these judgements."""

    def common(self, names: Iterable[str]) -> Floats:
        """Return the scores that all users share, ``[M]``."""
        return np.array([self._common.get(name, 0.0) for name in names])

    def learn(self, experience: Experience) -> None:
        """Add judgements to their users' histories; a later revision replaces the earlier one."""
        for change in history_changes(experience):
            new = [attrs.evolve(judgement, query=None) for judgement in change.judgements]
            history = self._users.get(change.user, UserHistory()).changed(change, new, self.config.history)
            with self._lock:
                keep_history(self._users, change.user, history)

    def prepare_replay(self, log: Store) -> None:
        """Remove users that the log has forgotten."""
        forgotten = set(log.forgotten(set(self._users)))
        self._users = {key: history for key, history in self._users.items() if key not in forgotten}

    def save(self, folder: Path) -> None:
        """Write the scores and the histories."""
        with self._lock:
            write_json(folder / "baseline.json", {"common": self._common, "users": {key: packed(history) for key, history in self._users.items()}})

    def load(self, folder: Path) -> None:
        """Read a folder that :meth:`save` wrote."""
        saved = read_json(folder / "baseline.json")
        self._common = {str(name): float(score) for name, score in saved["common"].items()}
        self._users = {str(key): unpacked(document) for key, document in saved["users"].items()}


class BradleyTerry(UserBaseline):
    """One strength of each model for all users."""

    def fit_common(self, items: list[UserJudgement]) -> dict[str, float]:
        """Return the strengths of maximum posterior, in units of the logistic function."""
        strength = bradley_terry([_vote(each) for each in items]) if items else {}
        logits = {name: float(np.log(value / (1 - value))) for name, value in strength.items()}
        return {name: value - logits.get(AVERAGE, 0.0) for name, value in logits.items() if name != AVERAGE}

    def own(self, items: tuple[UserJudgement, ...], names: tuple[str, ...]) -> Floats:
        """Return the strengths."""
        return self.common(names)


class UserElo(UserBaseline):
    """Elo ratings of a user, shrunk toward those of all users."""

    def fit_common(self, items: list[UserJudgement]) -> dict[str, float]:
        """Return the ratings of all users together."""
        return _elo(items, {})

    def own(self, items: tuple[UserJudgement, ...], names: tuple[str, ...]) -> Floats:
        """Return the shrunk ratings on the logistic scale."""
        share, own, common = len(items) / (len(items) + self.config.shrinkage), _elo(items, self._common), self.common(names)
        return np.asarray((common + share * (np.array([own.get(name, 0.0) for name in names]) - common)) * np.log(10) / ELO_SCALE)


class UserRidge(UserBaseline):
    """Ridge regression over models, of the user's judgements alone."""

    def own(self, items: tuple[UserJudgement, ...], names: tuple[str, ...]) -> Floats:
        """Return the weights of the models."""
        place = {name: m for m, name in enumerate(dict.fromkeys([*names, *(name for each in items for name, _ in each.sides)]))}
        rows, signs = np.zeros((len(items), len(place))), np.array([each.sign for each in items])
        for n, each in enumerate(items):
            for name, side in each.sides:
                rows[n, place[name]] += side
        weights = np.linalg.solve(rows.T @ rows + self.config.penalty * np.eye(len(place)), rows.T @ signs)
        return np.asarray(weights[: len(names)])


def _vote(each: UserJudgement) -> Vote:
    better, worse = (each.better, each.worse or AVERAGE) if each.sign > 0 else (each.worse or AVERAGE, each.better)
    return Vote(Query(""), better, worse, 1.0, 1.0)


def _elo(items: Iterable[UserJudgement], start: Mapping[str, float]) -> dict[str, float]:
    """Return Elo ratings after judgements in order; the average model keeps 0."""
    ratings = dict(start)
    for each in items:
        mine, other = ratings.get(each.better, 0.0), 0.0 if each.worse is None else ratings.get(each.worse, 0.0)
        expected = 1 / (1 + 10 ** ((other - mine) / ELO_SCALE))
        change = ELO_STEP * ((1.0 if each.sign > 0 else 0.0) - expected)
        ratings[each.better] = mine + change
        if each.worse is not None:
            ratings[each.worse] = other - change
    return ratings
