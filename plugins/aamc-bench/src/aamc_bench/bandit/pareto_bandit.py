"""ParetoBandit (arXiv 2604.00136, ``paretobandit`` on PyPI) on the streams of ``aamc bench bandit``, decided by its own package.

It knows the number of requests, so its target is the budget per request. Its context is that of its paper: the query's embedding, reduced to 25
whitened principal components, and a constant. If the outcomes of training rows are known, it learns them first, as its offline priors. Its other
options have their defaults.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import Any

import numpy as np

from aamc_bench.bandit.replay_data import ReplayData
from aamc_bench.bandit.traffic import BudgetStream
from aamc_sdk.types import Floats, ModelSpec, Pool, RoutingRequest

NAME = "paretobandit"
COMPONENTS = 25
PRIOR_ROWS = 400
"""Training rows that it learns before the stream."""


class PrincipalComponents:
    """The context of a request: whitened principal components of the embeddings of training rows, and a constant."""

    def __init__(self, request: RoutingRequest) -> None:
        embedding = _embedding(request)
        self._mean = embedding.mean(axis=0)
        _, scale, axes = np.linalg.svd(embedding - self._mean, full_matrices=False)
        kept = min(COMPONENTS, int((scale > 1e-6 * scale[0]).sum()))
        self._project = axes[:kept].T / (scale[:kept] / np.sqrt(len(embedding)))
        self.dimension = kept + 1

    def contexts(self, request: RoutingRequest) -> Floats:
        """Return the contexts ``[B, dimension]``."""
        return np.column_stack(((_embedding(request) - self._mean) @ self._project, np.ones(len(request))))

    def extract_features(self, context: Floats) -> Floats:
        """Return a context as it is; called by the package."""
        return context


def _embedding(request: RoutingRequest) -> Floats:
    embedding = request.estimates.embedding
    if embedding is None:
        return np.column_stack((request.estimates.complexity, request.estimates.tool_use, request.estimates.categories))
    return np.asarray(embedding, dtype=np.float64)


def pareto_choices(stream: BudgetStream, data: ReplayData, seed: int) -> Any:
    """Return the column of the candidate that it chose for each request, ``[T]``."""
    pacing, routing = import_module("pareto_bandit.budget_pacer"), import_module("pareto_bandit.router")  # of an optional package
    logging.getLogger("pareto_bandit").setLevel(logging.ERROR)
    features = PrincipalComponents(data.training_request)
    pool = stream.request.pool
    pacer = pacing.BudgetPacer(stream.budget_usd / len(stream.reward))
    router = routing.BanditRouter(_registry(pool, data), feature_service=features, bandit_seed=seed, budget_pacer=pacer)
    _learn_before(router, features, data, seed)
    contexts, waiting, chosen = features.contexts(stream.request), [[] for _ in range(len(stream.reward) + 100)], []  # type: ignore[var-annotated]
    for step, context in enumerate(contexts):
        for past, log in waiting[step]:
            log.cost_usd = float(stream.outcomes.cost_usd[past, chosen[past]])
            router.process_feedback(log.request_id, float(stream.outcomes.known_quality[past, chosen[past]]))
        model, log = router.route(context)
        chosen.append(pool.index(model))
        waiting[stream.feedback_at[step]].append((step, log))
    return np.array(chosen)


def _learn_before(router: Any, features: PrincipalComponents, data: ReplayData, seed: int) -> None:
    outcomes = data.known_outcomes
    if outcomes is None:
        return
    rows = np.random.default_rng(seed).permutation(len(outcomes.cost_usd))[:PRIOR_ROWS]
    contexts, names = features.contexts(data.training_request), data.request.pool.names
    for row in rows:
        for m, quality in enumerate(outcomes.known_quality[row]):
            if np.isfinite(quality):
                router.update(names[m], contexts[row], float(quality))


def _registry(pool: Pool, data: ReplayData) -> dict[str, dict[str, Any]]:
    """Return its description of the candidates: list prices, else their mean cost as that of 1,000 tokens."""
    means = data.request.expected.means[:, 1]
    found = {}
    for candidate, mean in zip(pool, means, strict=True):
        prices = candidate.prices if isinstance(candidate, ModelSpec) else None
        given = (1000 * mean, 1000 * mean) if prices is None else (prices.input, prices.output)
        found[candidate.name] = {"model_id": candidate.name, "input_cost_per_m": float(given[0]), "output_cost_per_m": float(given[1])}
    return found
