"""The preference model: a population's weights, the models' embeddings, and the vectors of users.

A user's vector comes from their own judgements alone:

    direction_u = b + C'c_u + v_2 mean of x_j, j in P_u, + l_x sum over i of alpha_i (x_better - x_worse)_i             (1)
    own_u(m)    = v_1 [m in P_u] + l_m sum over i of alpha_i ([m = better] - [m = worse])_i                            (2)
    utility(m)  = x_m . (direction_u + A'q) + p_m + own_u(m)                                                           (3)

alpha is that of :mod:`aamc_gmtrouter.taste.ep`. The sums are over past judgements, so each one's share in a utility is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs
import numpy as np

from aamc_gmtrouter.embedding import Embed, Reduction
from aamc_gmtrouter.history import UserHistory, UserJudgement
from aamc_gmtrouter.taste.ep import infer
from aamc_gmtrouter.taste.population import Observations, Population, fit_population
from aamc_sdk.types import Floats, Pool

MAX_JUDGEMENTS = 128
"""Maximum number of a user's judgements that count, the last ones: the cost of an update grows with its third power."""
MAX_CONTEXTS = 10_000
"""Maximum number of contexts whose embeddings are kept, the latest."""
SLOPE = 0.25
"""Quality per unit of utility where no outcome tells it: that of the logistic function near a half."""
FIT_USERS, FIT_ROWS, FIT_JUDGEMENTS = 500, 2000, 64
"""Maximum number of users, of rows of a table (each with a few judgements), and of a user's judgements that the population is fitted to."""


@attrs.frozen(eq=False)
class ModelFeatures:
    """The candidates of a pool as the preference model sees them.

    Attributes:
        names: Their names, M of them.
        x: Reduced embeddings of their descriptions, ``[M, d]``.
        popularity: p, ``[M]``; 0 for a model without training data.
    """

    names: tuple[str, ...]
    x: Floats
    popularity: Floats


@attrs.frozen(eq=False)
class UserVector:
    """The vector of a user, equations (1) and (2).

    Attributes:
        direction: ``[d]``.
        own: own_u by model name.
        rating: Posterior mean of s_u, the tendency to rate an average answer as good.
        shares: Weight alpha of each judgement that counts.
        judgements: These judgements, oldest first.
    """

    direction: Floats
    own: Mapping[str, float]
    rating: float
    shares: Floats
    judgements: tuple[UserJudgement, ...]


class PreferenceModel:
    """Scores models for users by equation (3).

    Args:
        reduction: Reduces embeddings.
        names: The models with a popularity of their own, in the order of the population's weights.
        population: The fitted weights.
        traits: Reduced embedding of each known model, by name.

    Attributes:
        slope: Quality per unit of utility, which sets the weight of preferences against cost and latency.
    """

    def __init__(self, reduction: Reduction, names: Sequence[str], population: Population, traits: Mapping[str, Floats]) -> None:
        self.reduction = reduction
        self.names = tuple(names)
        self.population = population
        self.traits = dict(traits)
        self.slope = SLOPE
        self._contexts: dict[str, Floats] = {}

    @classmethod
    def unfitted(cls, histories: Mapping[str, UserHistory], descriptions: Mapping[str, str], embed: Embed, dimensions: int) -> PreferenceModel:
        """Return a model without weights, in which every candidate has the utility 0.

        ``descriptions`` are those of the models by name, ``embed`` returns embeddings ``[N, D]`` of texts, ``dimensions`` is the maximum of d.
        """
        names = sorted(descriptions)
        queries = [each.query for history in histories.values() for each in history.judgements if each.query is not None]
        contexts = sorted({history.context for history in histories.values() if history.context})
        rows = {"description": np.asarray(embed([descriptions[name] for name in names]), dtype=np.float64)}
        if queries:
            rows["query"] = np.stack(queries)
        if contexts:
            rows["context"] = np.asarray(embed(contexts), dtype=np.float64)
        reduction = Reduction.fitted(rows, dimensions)
        traits = reduction("description", rows["description"])
        model = cls(reduction, names, Population.empty(traits.shape[1], len(names)), dict(zip(names, traits, strict=True)))
        model.learn_contexts(contexts, embed)
        return model

    def fit(self, histories: Sequence[UserHistory], limit: int = FIT_USERS) -> dict[str, float]:
        """Fit the population to the first ``limit`` users' reduced histories, and return figures of the fit."""
        self.population, figures = fit_population(self.observations(histories[:limit], FIT_JUDGEMENTS))
        return figures

    @property
    def dimensions(self) -> int:
        """Width of reduced embeddings, d."""
        return int(self.reduction.basis.shape[1])

    def learn_descriptions(self, pool: Pool, embed: Embed) -> None:
        """Embed the descriptions of candidates that are not known yet."""
        new = [candidate for candidate in pool if candidate.name not in self.traits]
        if new:
            embedded = np.asarray(embed([candidate.description or candidate.name for candidate in new]), dtype=np.float64)
            self.traits |= dict(zip([candidate.name for candidate in new], self.reduction("description", embedded), strict=True))

    def learn_contexts(self, contexts: Sequence[str], embed: Embed) -> None:
        """Embed contexts that are not known yet."""
        if new := [text for text in dict.fromkeys(contexts) if text and text not in self._contexts]:
            embedded = np.asarray(embed(new), dtype=np.float64)
            self._contexts |= dict(zip(new, self.reduction("context", embedded), strict=True))
            for text in list(self._contexts)[: max(0, len(self._contexts) - MAX_CONTEXTS)]:
                self._contexts.pop(text, None)  # another thread may have dropped it

    def contexts(self, wanted: Iterable[str]) -> dict[str, Floats]:
        """Return the reduced embedding of each known context among the wanted ones."""
        named = set(wanted)
        return {text: embedding for text, embedding in dict(self._contexts).items() if text in named}

    def set_contexts(self, contexts: Mapping[str, Floats]) -> None:
        """Set the reduced embeddings of known contexts, and forget all others."""
        self._contexts = dict(contexts)

    def context(self, text: str) -> Floats:
        """Return the reduced embedding of a context, ``[d]``; zeros for one that was not learned."""
        return self._contexts.get(text, np.zeros(self.dimensions))

    def reduced(self, history: UserHistory) -> UserHistory:
        """Return a history whose queries are reduced embeddings ``[d]``, as all other methods expect."""
        return attrs.evolve(history, judgements=tuple(map(self.reduced_judgement, history.judgements)))

    def reduced_judgement(self, judgement: UserJudgement) -> UserJudgement:
        """Return a judgement whose query is a reduced embedding."""
        return judgement if judgement.query is None else attrs.evolve(judgement, query=self.query(judgement.query))

    def margin(self, user: UserVector, judgement: UserJudgement) -> float:
        """Return the predicted utility of the answer that a judgement prefers above the other one."""
        query = np.zeros(self.dimensions) if judgement.query is None else judgement.query
        utility = self.utility(user, query, self.features([name for name, _ in judgement.sides]))
        rating = user.rating if judgement.worse is None else -float(utility[1])
        return judgement.sign * (float(utility[0]) + rating)

    def features(self, names: Sequence[str]) -> ModelFeatures:
        """Return the features of models; zeros for an unknown one, which is then an average model."""
        popularity = dict(zip(self.names, self.population.identity.tolist(), strict=True))
        return ModelFeatures(tuple(names), np.stack([self.trait(name) for name in names]), np.array([popularity.get(name, 0.0) for name in names]))

    def trait(self, name: str | None) -> Floats:
        """Return the reduced embedding of a model, ``[d]``; zeros, those of an average model, for an unknown one or None."""
        return np.zeros(self.dimensions) if name is None else self.traits.get(name, np.zeros(self.dimensions))

    def query(self, embedding: Floats | None) -> Floats:
        """Return the reduced embedding of one query, ``[d]``; zeros without one."""
        return np.zeros(self.dimensions) if embedding is None else np.asarray(self.reduction("query", embedding[None])[0])

    def user_vector(self, history: UserHistory) -> UserVector:
        """Return the vector of a user."""
        weights, counted = self.population, history.judgements[-MAX_JUDGEMENTS:]
        direction = weights.description + self.context(history.context) @ weights.context + weights.preferred[1] * self._mean_trait(history.preferred)
        own = {name: float(weights.preferred[0]) for name in history.preferred}
        if not counted or not weights.kernel.any():
            return UserVector(np.asarray(direction), own, float(weights.rating[0]), np.empty(0), ())
        seen = self.observations([history], MAX_JUDGEMENTS)
        alpha = infer(weights.covariance(seen), weights.offset(seen), seen.y).alpha[0]
        for each, share in zip(counted, (weights.kernel[1] * alpha).tolist(), strict=True):
            for name, side in each.sides:
                own[name] = own.get(name, 0.0) + side * share
        rating = float(weights.rating[0] + weights.leniency[0] * alpha @ seen.rating[0])
        return UserVector(np.asarray(direction + weights.kernel[0] * alpha @ seen.description[0]), own, rating, alpha, counted)

    def utility(self, user: UserVector, query: Floats, features: ModelFeatures) -> Floats:
        """Return the utility of each model, equation (3), ``[M]``."""
        own = np.array([user.own.get(name, 0.0) for name in features.names])
        return np.asarray(features.x @ (user.direction + query @ self.population.query) + features.popularity + own)

    def influence(self, user: UserVector, features: ModelFeatures, chosen: int, other: int) -> dict[str, float]:
        """Return each past turn's effect on the difference of two candidates' utilities, by turn."""
        difference, found = features.x[chosen] - features.x[other], dict[str, float]()
        names = features.names[chosen], features.names[other]
        for each, share in zip(user.judgements, user.shares.tolist(), strict=True):
            delta = self.trait(each.better) - self.trait(each.worse)
            matches = sum(sign * ((each.better == name) - (each.worse == name)) for name, sign in zip(names, (1, -1), strict=True))
            found[each.turn] = found.get(each.turn, 0.0) + share * float(
                self.population.kernel[0] * delta @ difference + self.population.kernel[1] * matches
            )
        return found

    def observations(self, histories: Sequence[UserHistory], limit: int) -> Observations:
        """Return users' last ``limit`` judgements in arrays."""
        judged = {name for history in histories for each in history.judgements for name, _ in each.sides}
        columns = [*self.names, *sorted(judged - set(self.names))]  # models without weights only matter within a user
        d, position = self.dimensions, {name: m for m, name in enumerate(columns)}
        shape = (len(histories), max([min(len(history.judgements), limit) for history in histories], default=0))
        description, query, identity = np.zeros((*shape, d)), np.zeros((*shape, d)), np.zeros((*shape, len(position)))
        preferred, rating, y, context = np.zeros((*shape, 2)), np.zeros(shape), np.zeros(shape), np.zeros((len(histories), d))
        for u, history in enumerate(histories):
            context[u], liked = self.context(history.context), self._mean_trait(history.preferred)
            for n, each in enumerate(history.judgements[-limit:]):
                description[u, n] = self.trait(each.better) - self.trait(each.worse)
                for name, side in each.sides:
                    identity[u, n, position[name]] = side
                preferred[u, n] = (each.better in history.preferred) - (each.worse in history.preferred), liked @ description[u, n]
                query[u, n], rating[u, n], y[u, n] = 0.0 if each.query is None else each.query, float(each.worse is None), each.sign
        return Observations(description, identity, query, context, preferred, rating, y)

    def _mean_trait(self, names: Sequence[str]) -> Floats:
        return np.mean([self.trait(name) for name in names], axis=0) if names else np.zeros(self.dimensions)
