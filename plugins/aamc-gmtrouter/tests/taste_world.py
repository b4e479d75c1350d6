"""A world whose truth is known, and the exact posterior of a user's taste in it.

The utility of model m for user u and query q is (t_u + w q) . x_m / sqrt(d), with t, q and x standard normal in R^d. Users come in pairs of
opposite taste. A comparison is of two random models on a random query; the first wins with probability sigmoid(difference / temperature).

Two variants are beyond a Gaussian process over linear tastes: a taste for each of two topics, which the sign of the query's first number tells,
and groups of users with the same taste.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from aamc_experiments.evaluation import choice_auc
from aamc_experiments.personal_evaluation import PersonalMeasurement
from aamc_gmtrouter.baselines import UserBaselineConfig, UserRidge
from aamc_gmtrouter.interactions import Interactions, InteractionsOptions
from aamc_gmtrouter.options import GMTRouterConfig
from aamc_gmtrouter.router import GMTRouter
from numpy.typing import NDArray
from scipy.special import softmax

from aamc_sdk import Dataset, Estimator, ModelSpec, Pool, Query, Router, Services, Training
from aamc_sdk.routing import LinearReward, build_request
from aamc_sdk.types import Estimates, Floats, sigmoid


@attrs.frozen(kw_only=True)
class WorldSettings:
    """The size of a world.

    Attributes:
        query_weight: w.
        dimensions: d.
        models: Number of models.
        users: Number of users; half of the pairs train.
        comparisons: Comparisons of each user.
        temperature: Divides the difference of utilities.
        topics: 1, or 2: a user then has a taste for each.
        groups: Number of different tastes, an even one; 0 for one of each user.
        profiles: Whether users have a context, whose vector is their taste plus standard normal noise, and their two best models as preferred.
    """

    query_weight: float = 0.0
    dimensions: int = 8
    models: int = 8
    users: int = 80
    comparisons: int = 30
    temperature: float = 0.2
    topics: int = 1
    groups: int = 0
    profiles: bool = False


@attrs.frozen(eq=False)
class TasteWorld:
    """A drawn world; U users with n comparisons each.

    Attributes:
        settings: Its size.
        traits: x, ``[M, d]``.
        tastes: t, ``[U, topics d]``; user u and user u + U / 2 are opposite.
        queries: q, ``[U, n, d]``.
        pairs: The compared models, ``[U, n, 2]``.
        first_won: ``[U, n]``.
    """

    settings: WorldSettings
    traits: Floats
    tastes: Floats
    queries: Floats
    pairs: NDArray[np.intp]
    first_won: NDArray[np.bool_]

    @classmethod
    def drawn(cls, seed: int, settings: WorldSettings) -> TasteWorld:
        """Return the world of a seed."""
        draw, d, users, n = np.random.default_rng(seed), settings.dimensions, settings.users, settings.comparisons
        traits, half = draw.normal(size=(settings.models, d)), draw.normal(size=(users // 2, settings.topics * d))
        if settings.groups:
            half = half[np.arange(users // 2) % (settings.groups // 2)]
        tastes, queries = np.concatenate((half, -half)), draw.normal(size=(users, n, d))
        pairs = draw.random((users, n, settings.models)).argsort(axis=2)[:, :, :2]
        world = cls(settings, traits, tastes, queries, pairs, np.zeros((users, n), dtype=bool))
        by_taste, by_query = world.differences()
        probability = sigmoid((np.einsum("und,ud->un", by_taste, tastes) + by_query) / settings.temperature)
        return attrs.evolve(world, first_won=draw.random((users, n)) < probability)

    def differences(self) -> tuple[Floats, Floats]:
        """Return the difference of each comparison's utilities per unit of taste, ``[U, n, topics d]``, and the query's part, ``[U, n]``."""
        difference = (self.traits[self.pairs[..., 0]] - self.traits[self.pairs[..., 1]]) / np.sqrt(self.settings.dimensions)
        topic = (self.queries[..., 0] > 0) * (self.settings.topics - 1)
        by_topic = [np.where((topic == k)[..., None], difference, 0.0) for k in range(self.settings.topics)]
        return np.concatenate(by_topic, axis=2), self.settings.query_weight * (self.queries * difference).sum(axis=2)

    @property
    def training_users(self) -> list[int]:
        """The users of half of the pairs."""
        quarter, half = self.settings.users // 4, self.settings.users // 2
        return [*range(quarter), *range(half, half + quarter)]

    @property
    def unseen_users(self) -> list[int]:
        """The users of the other pairs."""
        return sorted(set(range(self.settings.users)) - set(self.training_users))

    def opposite(self, user: int) -> int:
        """Return the user of the opposite taste."""
        return (user + self.settings.users // 2) % self.settings.users

    def embeddings(self) -> dict[str, Floats]:
        """Return the vector of each text: descriptions "trait m", queries "query u n" and contexts "context u"."""
        noise = np.random.default_rng(1).normal(size=self.tastes.shape)
        contexts = {f"context {u}": taste for u, taste in enumerate(self.tastes + noise)}
        found = {f"trait {m}": trait for m, trait in enumerate(self.traits)}
        return found | contexts | {f"query {u} {n}": query for u, asked in enumerate(self.queries) for n, query in enumerate(asked)}

    def document(self, user: int, support: Mapping[int, int] | None = None, support_size: int = 10) -> dict[str, object]:
        """Return a user's line of dataset ``interactions``: two ratings a comparison.

        Args:
            user: The user.
            support: The user whose first comparisons stand in place of the own ones, by user; None for the own.
            support_size: Number of such comparisons.
        """
        donor = user if support is None else support[user]
        sources = [(donor if n < support_size else user, n) for n in range(self.settings.comparisons)]
        interactions = [
            {
                "query": f"query {u} {n}",
                "model_used": f"model-{m}",
                "user_feedback": "positive" if won == self.first_won[u, n] else "negative",
                "timestamp": n,
            }
            for u, n in sources
            for m, won in zip(self.pairs[u, n].tolist(), (True, False), strict=True)
        ]
        line: dict[str, object] = {"user_id": f"user-{user}", "interactions": interactions}
        if self.settings.profiles:
            best = np.argsort(-self.traits @ self.tastes[user])[:2]
            line |= {"context": f"context {user}", "preferred_models": [f"model-{m}" for m in best.tolist()]}
        return line

    def posterior_scores(self, users: Sequence[int], support: int, tested: slice, steps: int) -> Floats:
        """Return the posterior mean difference of utilities of each tested comparison, ``[len(users), tested]``.

        Knows traits, prior, temperature and w. A normal prior's mean is by elliptical slice sampling (Murray, Adams and MacKay 2010), that of
        groups is exact.
        """
        difference, known = (array[list(users)] for array in self.differences())
        sign = np.where(self.first_won[list(users)], 1.0, -1.0)[:, :support]

        def likelihood(taste: Floats) -> Floats:
            margin = np.einsum("und,ud->un", difference[:, :support], taste) + known[:, :support]
            return np.asarray(-np.logaddexp(0, -sign * margin / self.settings.temperature).sum(axis=1))

        if self.settings.groups:
            tastes = np.unique(self.tastes, axis=0)
            weight = softmax(np.stack([likelihood(np.tile(taste, (len(users), 1))) for taste in tastes], axis=1), axis=1)
            mean = weight @ tastes
        else:
            mean = _elliptical_slice_mean(likelihood, (len(users), self.tastes.shape[1]), steps, np.random.default_rng(0))
        return np.asarray((np.einsum("und,ud->un", difference, mean) + known)[:, tested])


def _elliptical_slice_mean(likelihood, shape: tuple[int, int], steps: int, draw: np.random.Generator) -> Floats:
    """Return the mean of ``steps`` samples after a third as many of burn-in; each row is a chain of its own."""
    state, total, burn_in = draw.normal(size=shape), np.zeros(shape), steps // 3
    for step in range(steps + burn_in):
        other, level = draw.normal(size=shape), likelihood(state) + np.log(draw.random(shape[0]))
        angle = draw.uniform(0, 2 * np.pi, shape[0])
        low, high, waiting, moved = angle - 2 * np.pi, angle.copy(), np.ones(shape[0], dtype=bool), state.copy()
        while waiting.any():
            proposal = state * np.cos(angle)[:, None] + other * np.sin(angle)[:, None]
            accepted = waiting & (likelihood(proposal) > level)
            moved[accepted], waiting = proposal[accepted], waiting & ~accepted
            low, high = np.where(waiting & (angle < 0), angle, low), np.where(waiting & (angle >= 0), angle, high)
            angle = np.where(waiting, draw.uniform(low, high), angle)
        state = moved
        total += state if step >= burn_in else 0.0
    return total / steps


class VectorEstimator(Estimator):
    """An estimator whose embeddings are the vectors that texts name; zeros for other texts.

    Args:
        vectors: The vector of each text.
        services: The services.
    """

    def __init__(self, vectors: Mapping[str, Floats], services: Services) -> None:
        super().__init__(None, services)
        self._vectors = vectors
        self._unknown = np.zeros(len(next(iter(vectors.values()))))

    def estimate(self, queries: Sequence[Query]) -> Estimates:
        """Describe nothing but the embedding."""
        return attrs.evolve(Estimates.unknown(len(queries)), embedding=self.embed([query.text for query in queries]), fingerprint="vectors")

    def embed(self, texts: Sequence[str]) -> Floats:
        """Return the vectors of texts, ``[N, d]``."""
        return np.stack([self._vectors.get(text, self._unknown) for text in texts])


class WorldTrial:
    """A router that is trained on the training users of a world, and measured on the others.

    Args:
        world: The world.
        folder: Where lines of users are written and read.
        options: The router's options.
    """

    def __init__(self, world: TasteWorld, folder: Path, options: GMTRouterConfig) -> None:
        self.world, self._folder = world, folder
        self.pool = Pool(ModelSpec(f"model-{m}", f"trait {m}") for m in range(world.settings.models))
        self.services = Services(pool=self.pool, reward=LinearReward(), make=lambda *_: None, device="cpu")
        self.estimator = VectorEstimator(world.embeddings(), self.services)
        self.router = GMTRouter(options, self.services)
        train = self.dataset(world.training_users)
        request = build_request(train.queries, self.pool, np.array([1.0, 0.0, 0.0]), estimator=self.estimator)
        self.metrics = self.router.train(Training(dataset=train, request=request))

    def dataset(self, users: Sequence[int], support: Mapping[int, int] | None = None) -> Dataset:
        """Return users' comparisons; with ``support``, the first ten of each user are another user's."""
        path = self._folder / "users.jsonl"
        path.write_text("\n".join(json.dumps(self.world.document(user, support)) for user in users), encoding="utf-8")
        read: Dataset = Interactions(InteractionsOptions(), self.services).read(str(path))
        return read

    def areas(self, support: Callable[[int], int] | None = None) -> dict[str, list[float]]:
        """Return the areas under the ROC curve on unseen users after 0, 1, 3 and 10 ratings, for the router and per-user ridge.

        ``support`` returns the user whose ratings stand in place of a user's own; None for the own.
        """
        users = self.world.unseen_users
        routers: dict[str, Router] = {"gmtrouter": self.router, "user-ridge": UserRidge(UserBaselineConfig(), self.services)}
        dataset = self.dataset(users, None if support is None else {user: support(user) for user in users})
        found: dict[str, Any] = PersonalMeasurement(routers=routers, dataset=dataset, pool=self.pool, estimator=self.estimator).write_metrics(None)
        return {name: [cell["preference_auc"] for cell in row["by_support"].values()] for name, row in found["routers"].items()}

    def posterior_areas(self, steps: int = 600) -> list[float]:
        """Return the same areas of the exact posterior."""
        users = self.world.unseen_users
        sign = np.where(self.world.first_won[users][:, 10:], 1.0, -1.0)
        return [choice_auc((sign * self.world.posterior_scores(users, size, slice(10, None), steps)).ravel()) for size in (0, 1, 3, 10)]
