"""The population's part of the utility, fitted to many users by empirical Bayes.

    mu(u, q, m) = b . x_m + p_m + q' A x_m + c_u' C x_m + v_1 [m in P_u] + v_2 mean of x_j, j in P_u, . x_m              (1)
    tau_u(m)   ~ Gaussian process with kernel l_x <x_m, x_n> + l_m [m = n]                                              (2)
    s_u        ~ N(s, l_s)                                                                                              (3)

x_m, q and c_u are reduced embeddings of description, query and context; P_u are the user's preferred models. A = a I + A' and
C = c I + C': description and text share a space, so the identity is a natural guess. Weights have normal priors with a variance per group
(b, p, a, A', c, C', v, s); the evidence of :mod:`aamc_gmtrouter.taste.ep` is maximised by L-BFGS, and the variances by one EM step between
rounds. A' and C' have many weights, so their variance is the one with the highest evidence on users that were held out. s_u is the user's tendency
to rate an average answer as good; it applies to ratings only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize  # type: ignore[import-untyped]  # scipy ships no types

from aamc_gmtrouter.taste.ep import infer
from aamc_sdk.types import Floats

ROUNDS, STEPS = 3, 40
"""Rounds of EM, and steps of L-BFGS in each."""
MIN_VARIANCE, MAX_VARIANCE = 1e-4, 1e2
MATRIX_VARIANCES = (1e-4, 1e-3, 1e-2, 1e-1)
"""Variances of A' and C' that are tried; the first all but leaves them out."""
FEW_USERS = 8
"""Number of users below which none is held out, and the second variance is taken."""
FIRST_VARIANCES = (1.0, 0.1, 0.1)
"""l_x, l_m and l_s at the start of a fit."""
MAX_LOG_KERNEL = 5.0
"""Bound of their logarithms, on both sides."""
MATRICES = ("query", "context")
"""The groups of A' and C'."""
_CURVATURE = 0.35
"""Typical second derivative of a probit factor, for the variances of weights."""


@attrs.frozen(eq=False)
class Observations:
    """Judgements of U users in arrays, padded to n each; d numbers per embedding, M models.

    Attributes:
        description: x of the better minus x of the worse model, ``[U, n, d]``; of a rating x alone.
        identity: The same of one-hot vectors of models, ``[U, n, M]``.
        query: ``[U, n, d]``.
        context: ``[U, d]``.
        preferred: [better in P] - [worse in P], and mean of P's x times ``description``, ``[U, n, 2]``.
        rating: Whether it is a rating, ``[U, n]``.
        y: 1 or -1; 0 for padding, ``[U, n]``.
    """

    description: Floats
    identity: Floats
    query: Floats
    context: Floats
    preferred: Floats
    rating: Floats
    y: Floats

    def of_users(self, chosen: NDArray[np.bool_]) -> Observations:
        """Return the judgements of some users."""
        return Observations(*(getattr(self, field.name)[chosen] for field in attrs.fields(Observations)))


@attrs.frozen(eq=False)
class Population:
    """The fitted weights of equations (1) to (3).

    Attributes:
        description: b, ``[d]``.
        identity: p, ``[M]``.
        query: A, ``[d, d]``.
        context: C, ``[d, d]``.
        preferred: v, ``[2]``.
        rating: s, ``[1]``.
        kernel: l_x and l_m, ``[2]``.
        leniency: l_s, ``[1]``.
    """

    description: Floats
    identity: Floats
    query: Floats
    context: Floats
    preferred: Floats
    rating: Floats
    kernel: Floats
    leniency: Floats = attrs.field(factory=lambda: np.zeros(1))

    @classmethod
    def empty(cls, dimensions: int, models: int) -> Population:
        """Return weights of zero: neither a common taste nor one of a user."""
        square = (dimensions, dimensions)
        return cls(*(np.zeros(shape) for shape in (dimensions, models, square, square, 2, 1, 2)))

    @property
    def variances(self) -> Floats:
        """l_x, l_m and l_s, ``[3]``."""
        return np.concatenate((self.kernel, self.leniency))

    def covariance(self, seen: Observations) -> Floats:
        """Return the prior covariance between each user's own observations, ``[U, n, n]``."""
        return _weighted(kernels(seen), self.variances)

    def offset(self, seen: Observations) -> Floats:
        """Return mu of better minus worse, ``[U, n]``."""
        direction = self.description + seen.query @ self.query + (seen.context @ self.context)[:, None, :]
        found = (
            (direction * seen.description).sum(axis=2) + seen.identity[..., : len(self.identity)] @ self.identity + seen.preferred @ self.preferred
        )
        return np.asarray(found + self.rating[0] * seen.rating)


def kernels(seen: Observations) -> list[Floats]:
    """Return the kernels of equations (2) and (3) between each user's own observations, ``[U, n, n]`` each."""
    return [features @ features.swapaxes(1, 2) for features in (seen.description, seen.identity, seen.rating[..., None])]


def fit_population(seen: Observations) -> tuple[Population, dict[str, float]]:
    """Return the weights of the maximum evidence, and figures of the fit."""
    chosen = _matrix_variance(seen)
    population = _fit(seen, chosen, ROUNDS)
    variances = zip(("taste_variance", "model_variance", "leniency_variance"), population.variances.tolist(), strict=True)
    return population, {"evidence": evidence(population, seen), **dict(variances), "matrix_variance": chosen}


def evidence(population: Population, seen: Observations) -> float:
    """Return the mean logarithm of the evidence per judgement."""
    found = infer(population.covariance(seen), population.offset(seen), seen.y).evidence.sum()
    return float(found) / max(float((seen.y != 0).sum()), 1.0)


def _matrix_variance(seen: Observations) -> float:
    """Return the variance of A' and C' with the highest evidence on every fourth user."""
    users = len(seen.y)
    if users < FEW_USERS:
        return MATRIX_VARIANCES[1]
    held = np.arange(users) % 4 == 3
    rest, out = seen.of_users(~held), seen.of_users(held)
    return max(MATRIX_VARIANCES, key=lambda variance: evidence(_fit(rest, variance, 1), out))


def _fit(seen: Observations, matrix_variance: float, rounds: int) -> Population:
    """Return the weights of the maximum evidence."""
    layout = _Layout.of(seen, matrix_variance)
    variances = layout.first_variances()
    point = np.concatenate((np.zeros(len(variances)), np.log(FIRST_VARIANCES[: layout.kernels])))
    bounds = [(None, None)] * len(variances) + [(-MAX_LOG_KERNEL, MAX_LOG_KERNEL)] * layout.kernels
    for remaining in reversed(range(rounds)):
        objective = _NegativeEvidence(seen, layout, variances)
        point = minimize(objective, point, method="L-BFGS-B", jac=True, bounds=bounds, options={"maxiter": STEPS, "ftol": 1e-6}).x
        if remaining:
            variances = layout.updated_variances(seen, point)
    return layout.population(point)


def _weighted(found: Sequence[Floats], weights: Floats) -> Floats:
    return np.asarray(sum(weight * kernel for weight, kernel in zip(weights, found, strict=True)))


class _NegativeEvidence:
    """Returns minus the penalised evidence and its derivatives; each call starts from the sites of the call before."""

    def __init__(self, seen: Observations, layout: _Layout, variances: Floats) -> None:
        self._seen, self._layout, self._variances = seen, layout, variances
        self._kernels = kernels(seen)
        self._sites: tuple[Floats, Floats] | None = None

    def __call__(self, point: Floats) -> tuple[float, Floats]:
        population = self._layout.population(point)
        posterior = infer(_weighted(self._kernels, population.variances), population.offset(self._seen), self._seen.y, self._sites)
        self._sites = posterior.precision, posterior.shift
        weights, logs = np.split(point, [-self._layout.kernels])  # a weak normal prior of the logarithms, with standard deviation 2
        slope = self._layout.collected(self._seen, posterior.slope) - weights / self._variances
        by_kernel = [weight * posterior.kernel_slope(kernel) for weight, kernel in zip(np.exp(logs), self._kernels, strict=False)]
        value = posterior.evidence.sum() - 0.5 * (weights**2 / self._variances).sum() - 0.125 * (logs**2).sum()
        return -float(value), -np.concatenate((slope, np.array(by_kernel) - 0.25 * logs))


@attrs.frozen
class _Layout:
    """The places of the weights in one vector: b, p, a, A', c, C', v, s, log l_x, log l_m, log l_s; groups without data are left out."""

    d: int
    models: int
    uses: Mapping[str, bool]
    matrix_variance: float

    @classmethod
    def of(cls, seen: Observations, matrix_variance: float) -> _Layout:
        uses = {
            "query": bool(seen.query.any()),
            "context": bool(seen.context.any()),
            "preferred": bool(seen.preferred.any()),
            "rating": bool(seen.rating.any()),
        }
        return cls(seen.description.shape[2], seen.identity.shape[2], uses, matrix_variance)

    @property
    def kernels(self) -> int:
        """Number of variances in the vector."""
        return 2 + self.uses["rating"]

    def groups(self) -> list[tuple[str, int]]:
        """Return the names and sizes of the groups."""
        sizes = [("description", self.d), ("identity", self.models)]
        for name in MATRICES:
            sizes += [(f"{name}_scale", 1), (name, self.d**2)] if self.uses[name] else []
        return sizes + [(name, size) for name, size in (("preferred", 2), ("rating", 1)) if self.uses[name]]

    def places(self) -> dict[str, slice]:
        """Return the place of each group."""
        ends = np.cumsum([0, *(size for _, size in self.groups())]).tolist()
        return {name: slice(start, end) for (name, _), start, end in zip(self.groups(), ends, ends[1:], strict=False)}

    def first_variances(self) -> Floats:
        own = dict.fromkeys(("query_scale", "context_scale", "preferred", "rating"), 10.0) | dict.fromkeys(MATRICES, self.matrix_variance)
        return np.concatenate([np.full(size, own.get(name, 0.1)) for name, size in self.groups()])

    def population(self, point: Floats) -> Population:
        """Return the weights of a vector."""
        found = {name: point[place] for name, place in self.places().items()}
        identity, missing = np.eye(self.d), np.zeros((self.d, self.d))

        def matrix(name: str) -> Floats:
            return missing if name not in found else found[f"{name}_scale"][0] * identity + found[name].reshape(self.d, self.d)

        preferred, rating = found.get("preferred", np.zeros(2)), found.get("rating", np.zeros(1))
        kernel, leniency = np.split(np.exp(point[-self.kernels :]), [2])
        weights = found["description"], found["identity"], matrix("query"), matrix("context"), preferred, rating
        return Population(*weights, kernel, leniency if self.uses["rating"] else np.zeros(1))

    def updated_variances(self, seen: Observations, point: Floats) -> Floats:
        """Return the mean of each group's squared weights and of their posterior variances, by the diagonal of the curvature."""
        population = self.population(point)
        variance = np.einsum("uii->ui", population.covariance(seen))
        curvature = np.where(seen.y != 0, _CURVATURE / (1 + 0.5 * variance), 0.0)
        squared = Observations(*(getattr(seen, field.name) ** 2 for field in attrs.fields(Observations)))
        information, places = self.collected(squared, curvature), self.places()
        for name, given in (("query_scale", seen.query), ("context_scale", seen.context[:, None])):
            if name in places:  # its feature is a sum, whose square is not the sum of squares
                information[places[name]] = (curvature * (given * seen.description).sum(axis=2) ** 2).sum()
        before = np.empty(len(point) - self.kernels)
        for name, place in places.items():
            group = point[place]
            if name in MATRICES:
                before[place] = self.matrix_variance
                continue
            variance = float(np.mean(group**2))
            for _ in range(20):
                variance = float(np.clip(np.mean(group**2 + 1 / (information[place] + 1 / max(variance, MIN_VARIANCE))), MIN_VARIANCE, MAX_VARIANCE))
            before[place] = variance
        return before

    def collected(self, seen: Observations, weight: Floats) -> Floats:
        """Return the sum over observations of ``weight`` ``[U, n]`` times the feature of each population weight.

        With the derivatives by the offsets as ``weight`` these are the derivatives by the population's weights.
        """
        x, q, c = seen.description, seen.query, seen.context
        parts = [np.einsum("un,und->d", weight, x), np.einsum("un,unm->m", weight, seen.identity)]
        if self.uses["query"]:
            by_query: NDArray[np.float64] = np.einsum("un,unq,und->qd", weight, q, x, optimize=True)
            parts += [np.array([np.trace(by_query)]), by_query.ravel()]
        if self.uses["context"]:
            by_context: NDArray[np.float64] = np.einsum("uq,ud->qd", c, np.einsum("un,und->ud", weight, x))
            parts += [np.array([np.trace(by_context)]), by_context.ravel()]
        if self.uses["preferred"]:
            parts.append(np.einsum("un,unk->k", weight, seen.preferred))
        if self.uses["rating"]:
            parts.append(np.array([(weight * seen.rating).sum()]))
        return np.concatenate(parts)
