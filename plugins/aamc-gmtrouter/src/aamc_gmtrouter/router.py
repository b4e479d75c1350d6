"""Router ``gmtrouter``: predicts from a user's few rated turns which model they will prefer next.

The utility of a candidate is the preference model's (:mod:`aamc_gmtrouter.taste.model`) plus, where it helps users it was not trained on, the
graph network's (:mod:`aamc_gmtrouter.graph.network`); option ``model`` leaves one of them out. A user's vector comes from their own judgements
alone; it is computed once for each new judgement and kept. Torch is imported for training, and for serving only where the graph network is used.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from scipy.special import ndtr  # type: ignore[import-untyped]  # scipy ships no types

from aamc_gmtrouter.embedding import Embed, hashed_words, required
from aamc_gmtrouter.history import (
    NEUTRAL,
    UserHistory,
    UserJudgement,
    absolute,
    described,
    histories,
    history_changes,
    keep_history,
    names_in,
    row_histories,
    user_key,
    users_of,
)
from aamc_gmtrouter.options import GMTRouterConfig
from aamc_gmtrouter.saved_state import packed, read_model, unpacked, write_model
from aamc_gmtrouter.taste import FIT_ROWS, FIT_USERS, SLOPE, ModelFeatures, PreferenceModel, UserVector
from aamc_sdk import Dataset, Experience, OnlineRouter, Query, Requirements, RoutingRequest, Scores, Services, Store, Training
from aamc_sdk.errors import CheckpointError, DataError, PluginError
from aamc_sdk.interfaces import Reward
from aamc_sdk.messages import checkpoint_errors, one_of
from aamc_sdk.storage import check_parameters, read_arrays, read_json, write_arrays, write_json
from aamc_sdk.types import Floats

logger = logging.getLogger(__name__)
USERS, BEST, LAST = "users.json", "best.npz", "last.npz"
NOBODY = UserHistory()
"""The history of a user that the router does not know; their vector is kept under the empty name."""
_Description = tuple[str, tuple[str, ...]]
"""The context of a user and the names of the models that they prefer."""
MAX_KNOWN = 16
"""Maximum number of vectors kept for each user: new users share theirs, and have one for each context."""
SHOWN_TURNS = 3
"""Maximum number of past turns that a decision's note names."""


@attrs.define(eq=False)
class _Known:
    """A user's vector and graph state, and the history that they were computed from.

    Attributes:
        without: The turns, and the graph's states without each of them; computed for the first decision, as an update need not wait for it.
    """

    history: UserHistory
    vector: UserVector
    state: Any = None
    without: Any = None


class GMTRouter(OnlineRouter):
    """Personal routing from a graph of rated turns. Thread-safe: several threads may score while one learns."""

    Config = GMTRouterConfig
    requires = Requirements(text=True, history=True, training=True)
    snapshots = True
    config: GMTRouterConfig

    def __init__(self, config: GMTRouterConfig, services: Services) -> None:
        super().__init__(config, services)
        self._lock = threading.Lock()
        self._model: PreferenceModel | None = None
        self._checkpoints: dict[str, Mapping[str, Any]] = {}
        self._network: Any = None
        self._hashes = self._warned = False
        self._estimator = ""
        self._embed: Embed | None = None
        self._users: dict[str, UserHistory] = {}
        self._known: dict[str, tuple[UserHistory, dict[_Description, _Known]]] = {}
        self._changed: set[str] = set()
        self._all_changed = True

    # Scoring

    def score(self, request: RoutingRequest) -> Scores:
        """Score the candidates for each request's user; each row's scores are the same in any batch."""
        model = self._trained()
        embed = self._embedder(request)
        model.learn_descriptions(request.pool, embed)
        features, embedding = model.features(request.pool.names), self._query_embeddings(request, embed)
        weight, shift = _preference_weights(request, self.services.reward)
        utility, score, notes = np.empty(request.mask.shape), np.empty(request.mask.shape), []
        for row, query in enumerate(request.queries):
            known = self._user(query, embed, model)
            reduced = model.query(embedding[row])
            utility[row] = _utility(model, self._network, known, reduced, features)
            score[row] = shift[row] + weight[row] * (NEUTRAL + model.slope * utility[row])
            scale = model.slope * float(weight[row, 0])
            notes.append(self._notes(known, reduced, features, score[row], request.mask[row], scale))
        expected = ndtr(utility - utility.mean(axis=1, keepdims=True))
        return Scores(score, expected_quality=expected, notes=notes)

    def _notes(self, known: _Known, query: Floats, features: ModelFeatures, score: Floats, mask: Any, scale: float) -> dict[str, Any]:
        """Return the number of the user's judged turns, and the past turns that moved the first candidate most against the second.

        ``scale`` is the score per unit of utility of equation (3).
        """
        order = [int(m) for m in np.argsort(-score, kind="stable") if mask[m]]
        notes: dict[str, Any] = {"judged_turns": len(known.history.turns)}
        if len(order) > 1 and (moved := self._moved(known, query, features, order[0], order[1])):
            first = sorted(moved.items(), key=lambda item: -abs(item[1]))[:SHOWN_TURNS]
            notes["past_turns"] = {turn: round(scale * share, 4) for turn, share in first}
            shown = ", ".join(f"{turn} ({scale * share:+.3f})" for turn, share in first)
            names = features.names[order[0]], features.names[order[1]]
            notes["why"] = f"Between {names[0]} and {names[1]}, these past turns of the user moved the utility most: {shown}."
        return notes

    def _moved(self, known: _Known, query: Floats, features: ModelFeatures, chosen: int, other: int) -> dict[str, float]:
        """Return each past turn's effect on the difference of two utilities: its share, and the change of the graph network without it."""
        model = self._trained()
        moved = model.influence(known.vector, features, chosen, other)
        if known.state is not None and known.history.judgements:
            if known.without is None:
                known.without = self._network.states_without(known.history, model)
            turns, states = known.without
            shares = self._network.influence(known.state, states, query, features.x[[chosen, other]])
            for turn, share in zip(turns, shares.tolist(), strict=True):
                moved[turn] = moved.get(turn, 0.0) + share
        return moved

    def _trained(self) -> PreferenceModel:
        if self._model is None:
            raise PluginError("gmtrouter is not trained; train it with: aamc train --router gmtrouter --dataset interactions:FILE --pool FILE")
        return self._model

    def _embedder(self, request: RoutingRequest) -> Embed:
        """Return a function that embeds texts as in training; descriptions and contexts need it, and queries without an embedding."""
        if not self._hashes and request.embed is not None:
            self._embed = required(request.embed)
        return self._embed or (lambda texts: np.full((len(texts), self._trained().reduction.width), np.nan))

    def _query_embeddings(self, request: RoutingRequest, embed: Embed) -> Floats:
        found = request.estimates.embedding
        if not self._hashes and found is not None and np.isfinite(found).all():
            return found
        return np.asarray(embed([query.text for query in request.queries]), dtype=np.float64)

    def _user(self, query: Query, embed: Embed, model: PreferenceModel) -> _Known:
        """Return the user's vector: the kept one, or a new one from their history; without a user, from the request's rated turns."""
        key = user_key(query)
        if key is None and (rated := _rated_turns(query, embed, model)):
            return self._with_description(UserHistory(rated), query, model, embed)
        own = self._users.get(key or "", NOBODY)
        place, description = "" if own is NOBODY else key or "", self._description(own, query)
        known = self._kept(place, own).get(description)
        if known is None:
            known = self._with_description(own, query, model, embed)
            with self._lock:
                if own is self._users.get(place, NOBODY):  # else feedback came meanwhile
                    latest = list(self._kept(place, own).items())[1 - MAX_KNOWN :]
                    self._known[place] = own, {**dict(latest), description: known}
        return known

    def _kept(self, place: str, own: UserHistory) -> dict[_Description, _Known]:
        """Return the vectors kept for a history, by description."""
        history, known = self._known.get(place, (own, {}))
        return known if history is own else {}

    def _with_description(self, history: UserHistory, query: Query, model: PreferenceModel, embed: Embed) -> _Known:
        context, preferred = self._description(history, query)
        model.learn_contexts([context], embed)
        return _computed(model, self._network, attrs.evolve(history, context=context, preferred=preferred))

    def _description(self, history: UserHistory, query: Query) -> _Description:
        """Return the context and the preferred models: a request's context, such as an application's system prompt, counts if there is none yet."""
        context, preferred = described(query)
        context, preferred = context if self.config.use_context else "", preferred if self.config.use_preferred else ()
        return history.context or context, preferred or history.preferred

    # Training

    def train(self, training: Training) -> Mapping[str, Any]:
        """Fit the preference model and the graph network to users' judgements; see the modules ``taste`` and ``graph``.

        A table of outcomes teaches by the comparisons of each row, a turn of its user; without one, of a user who is not seen again.

        Raises:
            DataError: The data has neither a judgement of a user nor a row with two different qualities, or judges a model that the pool lacks.
        """
        estimator = None if training.request is None else training.request.embed
        self._hashes = estimator is None or estimator(["a"]) is None
        embed = self._embed = hashed_words if estimator is None or self._hashes else required(estimator)
        self._estimator = "" if training.request is None else training.request.estimates.fingerprint
        users, held_out = (self._histories(split, embed) for split in (training.dataset, training.validation))
        from_table = not users
        if from_table:
            users, held_out = self._rows(training.dataset, embed), self._rows(training.validation, embed)
        if not users:
            raise DataError(
                f"{training.dataset.source} has neither a rated answer of a user nor outcomes that differ; gmtrouter learns from interactions:FILE, "
                "log:URL with feedback, or a table of outcomes"
            )
        self._check_models({**users, **held_out}, training.dataset.source)
        if not any(each.query is not None for history in users.values() for each in history.judgements):
            why = "ratings teach gmtrouter which models a user prefers, but not for which queries"
            logger.warning("%s has no texts, and no embeddings of the router's estimator, so %s", training.dataset.source, why)
        known_users, validated = users.keys() & users_of(training.dataset), bool(held_out)
        held_out = {name: history for name, history in held_out.items() if name not in known_users}  # they are not new
        descriptions = {candidate.name: candidate.description or candidate.name for candidate in self.services.pool}
        model = PreferenceModel.unfitted(users, descriptions, embed, self.config.dimensions)
        model.learn_contexts([history.context for history in held_out.values()], embed)
        reduced, later = ({name: model.reduced(history) for name, history in found.items()} for found in (users, held_out))
        metrics: dict[str, Any] = {
            "users" if known_users else "rows": len(users),
            "judgements": sum(len(history.judgements) for history in users.values()),
        }
        if self.config.model != "graph":
            metrics |= model.fit(list(reduced.values()), FIT_USERS if known_users else FIT_ROWS)
        network, self._checkpoints = None, {}
        if self.config.model != "preference":
            network, figures = self._trained_network(model, list(reduced.values()), list(later.values()), training)
            metrics |= figures
        with self._lock:
            self._model, self._network, self._known, self._all_changed = model, network, {}, True
            self._users = {name: history for name, history in reduced.items() if name in known_users}
        if from_table:
            model.slope = metrics["slope"] = self._slope(training.validation if validated else training.dataset, embed)
        return {**metrics, "embeddings": "hashed words" if self._hashes else "estimator"}

    def _trained_network(
        self, model: PreferenceModel, users: list[UserHistory], held_out: list[UserHistory], training: Training
    ) -> tuple[Any, Mapping[str, Any]]:
        """Return the trained graph network, None if it does not serve, and figures of its training."""
        from aamc_gmtrouter.graph.network import ServedNetwork
        from aamc_gmtrouter.graph.training import GraphTraining

        trained = GraphTraining(self.config, model, users, held_out, self.services, training).run()
        self._checkpoints = {BEST: trained.best, LAST: trained.last}
        return ServedNetwork(self.config, model.dimensions, trained.best) if trained.used else None, trained.figures

    def _histories(self, dataset: Any, embed: Embed) -> dict[str, UserHistory]:
        """Return the users' histories of a dataset, with embedded queries."""
        experience = None if dataset is None else dataset.experience
        if experience is None or not experience.decisions:
            return {}
        found = histories(self._embedded(experience, embed), self.config.history)
        return {name: self._as_configured(history) for name, history in found.items()}

    def _rows(self, dataset: Dataset | None, embed: Embed) -> dict[str, UserHistory]:
        """Return the histories of a table's rows."""
        if dataset is None or dataset.outcomes is None:
            return {}
        embedding = np.asarray(embed([query.text or " " for query in dataset.queries]), dtype=np.float64)
        rows = row_histories(dataset, self.services.pool.names, embedding, np.random.default_rng(self.services.seed), self.config.history)
        return {name: self._as_configured(history) for name, history in rows.items()}

    def _slope(self, dataset: Dataset | None, embed: Embed) -> float:
        """Return the quality per unit of utility within the rows of a table, by least squares; that of an unknown table if it is not positive."""
        assert dataset is not None
        assert dataset.outcomes is not None
        quality = dataset.outcomes.quality
        assert quality is not None
        compared = np.flatnonzero(np.isfinite(quality).sum(axis=1) > 1).tolist()
        embedding = np.asarray(embed([dataset.queries[row].text or " " for row in compared]), dtype=np.float64)
        model, network = self._trained(), self._network
        features = model.features(self.services.pool.names)
        products = squares = 0.0
        for row, query in zip(compared, embedding, strict=True):
            seen = np.isfinite(quality[row])
            known = self._user(dataset.queries[row], embed, model)
            utility = _utility(model, network, known, model.query(query), features)[seen]
            utility -= utility.mean()
            products, squares = products + float(utility @ quality[row, seen]), squares + float(utility @ utility)
        if products > 0:
            return products / squares
        logger.warning("the preferences learned from %s do not predict quality", dataset.source)
        return SLOPE

    def _embedded(self, experience: Experience, embed: Embed | None) -> Experience:
        """Return an experience with an embedding of each query: as the router's estimator logged it, else of its text; NaN without both."""
        logged = experience.estimates
        if logged.embedding is not None and not self._hashes and logged.fingerprint == self._estimator:
            return experience
        texts, found = [query.text for query in experience.queries], None
        if embed is not None and any(texts):
            found = np.asarray(embed([text or " " for text in texts]), dtype=np.float64)
            found[[not text for text in texts]] = np.nan
        return attrs.evolve(experience, estimates=attrs.evolve(logged, embedding=found))

    def _as_configured(self, history: UserHistory) -> UserHistory:
        """Return a history without the parts that the options switch off."""
        items = history.judgements if self.config.objective == "pairwise" else tuple(absolute(history.judgements))
        context, preferred = history.context if self.config.use_context else "", history.preferred if self.config.use_preferred else ()
        return UserHistory(items, context, preferred)

    def _check_models(self, users: Mapping[str, UserHistory], source: str) -> None:
        if unknown := [name for name in names_in(users) if name not in self.services.pool.names]:
            known = one_of(self.services.pool.names)
            raise DataError(f"{source} names the models {one_of(unknown)}, which the pool lacks (it has: {known}); describe them in the --pool FILE")

    # Learning

    def learn(self, experience: Experience) -> None:
        """Add judgements to their users' histories; a later revision replaces the earlier one, and equal ids count once."""
        model, changed = self._trained(), set[str]()
        for change in history_changes(self._embedded(experience, self._embed)):
            new = [model.reduced_judgement(each) for each in change.judgements]
            items = new if self.config.objective == "pairwise" else absolute(new)
            history = self._users.get(change.user, UserHistory()).changed(change, items, self.config.history)
            with self._lock:
                self._keep(change.user, history)
            changed.add(change.user)
        self._changed |= changed
        if self._embed is None:
            return  # the first request after a restart computes the vectors, and its estimator embeds the contexts
        for user in sorted(changed & self._users.keys()):
            history = self._users[user]
            model.learn_contexts([history.context], self._embed)
            known = _computed(model, self._network, history)
            with self._lock:
                self._known[user] = history, {(history.context, history.preferred): known}

    def _keep(self, key: str, history: UserHistory) -> None:
        for name in (key, *keep_history(self._users, key, history)):
            self._known.pop(name, None)

    def prepare_replay(self, log: Store) -> None:
        """Remove the histories, vectors and contexts of users that the log has forgotten; warn once of a log without anything to embed."""
        if self._hashes and not self._warned and not getattr(log.config, "store_text", True):
            self._warned = True
            logger.warning(
                "the log %s keeps no texts, so ratings teach gmtrouter which models a user prefers, but not for which queries; "
                "use the store's option store_text=true, or train with --estimator lexical",
                log.name,
            )
        forgotten = set(log.forgotten(set(self._users)))
        with self._lock:
            self._users = {key: history for key, history in self._users.items() if key not in forgotten}
            self._known = {key: known for key, known in self._known.items() if key and key not in forgotten}  # "" may have their contexts
            self._all_changed = self._all_changed or bool(forgotten)
            if forgotten and self._model is not None:
                self._model.set_contexts(self._model.contexts(history.context for history in self._users.values()))

    def delta(self) -> bytes | None:
        """Return the histories of users who judged since the last call, in the order that decides who is dropped; None where all changed."""
        whole, changed = self._all_changed, self._changed
        self._all_changed, self._changed = False, set()
        if whole:
            return None
        return json.dumps({key: packed(history) for key, history in self._users.items() if key in changed}).encode()

    def apply_delta(self, delta: bytes) -> None:
        """Take over the histories of another router's :meth:`delta`.

        Raises:
            CheckpointError: It is damaged.
        """
        with checkpoint_errors("the delta of gmtrouter", "load its whole state"):
            found = {str(key): unpacked(document) for key, document in json.loads(delta).items()}
        with self._lock:
            for key, history in found.items():
                self._keep(key, history)

    # State

    def save(self, folder: Path) -> None:
        """Write the preference model, the graph network's best and last checkpoints, and the users' histories."""
        with self._lock:
            users = dict(self._users)
        flags = {"hashed_words": self._hashes, "graph_used": self._network is not None, "estimator": self._estimator}
        write_model(folder, self._trained(), [history.context for history in users.values()], flags)
        write_json(folder / USERS, {key: packed(history) for key, history in users.items()})
        for name, parameters in self._checkpoints.items():
            write_arrays(folder / name, dict(parameters))

    def load(self, folder: Path) -> None:
        """Read a folder that :meth:`save` wrote.

        Raises:
            CheckpointError: A file is missing or damaged, or of other options.
        """
        model, flags = read_model(folder)
        users = {str(key): unpacked(document) for key, document in read_json(folder / USERS).items()}
        names = () if self.config.model == "preference" else (BEST, LAST)
        checkpoints: dict[str, Mapping[str, Any]] = {name: read_arrays(folder / name) for name in names}
        network = self._served_network(model, checkpoints, folder) if flags["graph_used"] else None
        with self._lock:
            self._model, self._network, self._checkpoints, self._hashes = model, network, checkpoints, flags["hashed_words"]
            self._embed, self._estimator = hashed_words if self._hashes else self._embed, flags["estimator"]
            self._users, self._known, self._changed, self._all_changed = users, {}, set(), False

    def _served_network(self, model: PreferenceModel, checkpoints: Mapping[str, Mapping[str, Any]], folder: Path) -> Any:
        from aamc_gmtrouter.graph.network import GraphNetwork, ServedNetwork, parameters_of

        if BEST not in checkpoints:
            raise CheckpointError(f"{folder} holds a graph network, which a router of model=preference does not serve; train again")
        check_parameters(checkpoints[BEST], parameters_of(GraphNetwork(self.config, model.dimensions)), folder / BEST)
        return ServedNetwork(self.config, model.dimensions, checkpoints[BEST])


def _computed(model: PreferenceModel, network: Any, history: UserHistory) -> _Known:
    state = None if network is None else network.user_state(history, model)
    return _Known(history, model.user_vector(history), state)


def _utility(model: PreferenceModel, network: Any, known: _Known, query: Floats, features: ModelFeatures) -> Floats:
    utility = model.utility(known.vector, query, features)
    return utility if known.state is None else utility + network.scores(known.state, query, features.x)


def _rated_turns(query: Query, embed: Embed, model: PreferenceModel) -> tuple[UserJudgement, ...]:
    """Return the ratings that a request without a user carries in its earlier turns."""
    found, asked = [], ""
    for place, turn in enumerate(query.turns):
        asked = turn.content if turn.role == "user" else asked
        if turn.model is not None and turn.rating is not None and turn.rating != NEUTRAL:
            reduced = model.query(np.asarray(embed([asked]), dtype=np.float64)[0] if asked else None)
            found.append(UserJudgement(f"turn {place}", f"turn {place}", None, turn.model, None, 1.0 if turn.rating > NEUTRAL else -1.0, reduced))
    return tuple(found)


def _preference_weights(request: RoutingRequest, reward: Reward) -> tuple[Floats, Floats]:
    """Return the weight of quality ``[B, 1]`` and the part of cost and latency ``[B, M]``; an unknown one counts as the maximum, so it adds 0."""
    weights = reward.weights(request.preferences)
    vector = np.nan_to_num(reward.vector(request.expected), posinf=0.0, neginf=0.0)
    return weights[:, :1], np.asarray((vector[..., 1:] * weights[:, None, 1:]).sum(axis=2))
