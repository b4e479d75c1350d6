"""Routers that pace a day's spending: the traffic of the day, ParetoBandit as their rival, and the job that plays each at each budget.

Every traffic has T requests between midnight and midnight. A request's cost and quality are reported up to ``MAXIMUM_DELAY`` requests later.

ParetoBandit (arXiv 2604.00136) knows the number of requests, so its target is the budget per request. Its context is that of its paper: the
query's embedding, reduced to 25 whitened principal components, and a constant. If the outcomes of training rows are known, they are its offline
priors. As in the demonstration of its package, the pacer's penalty on cost is the only one; its other options have their defaults.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import numpy as np
from aamc_experiments.evaluation import hull
from aamc_experiments.settings import read_settings
from numpy.typing import NDArray

from aamc_bench.bandit.jobs import replay
from aamc_bench.bandit.replay_data import ReplayData, make_replay_data
from aamc_bench.bandit.scenarios import DEGRADES, Stream, degraded, stationary
from aamc_sdk.interfaces import Progress, Router
from aamc_sdk.plugins import Plugins, get_plugin_manager
from aamc_sdk.storage import write_arrays
from aamc_sdk.types import Attempt, Decision, Feedback, Floats, Pool, RoutingRequest

DAY_S = 86400.0
MIDNIGHT = 20000 * DAY_S
MAXIMUM_DELAY = 20
"""The maximum delay of a report, in requests."""
PRICE_RISE = 1.5
"""The factor on the cost of the best candidate after it has drifted."""
BURSTS, BURST_SHARE = 8, 0.05
"""The number of bursts of a bursty day, and the share of the day that they take."""


@attrs.frozen(eq=False, slots=False, kw_only=True)
class BudgetStream(Stream):
    """T requests of one day, whose preference is quality alone; ``budget_usd`` is the budget of the day."""

    budget_usd: float

    def reported(self, step: int, decision: Decision, column: int) -> tuple[Attempt | Feedback, ...]:
        """Return the call with its cost, and the feedback."""
        call = Attempt(decision.id, n=0, candidate=decision.candidate, cost_usd=float(self.outcomes.cost_usd[step, column]))
        return call, *super().reported(step, decision, column)

    @cached_property
    def best_quality(self) -> float:
        """The maximum of the sum of qualities within the budget: the value of the linear program, which knows all outcomes.

        Each request begins with its cheapest candidate; the steps along the hulls of requests are paid for by slope, the last one in part.
        Where the budget does not pay for the cheapest candidates, it is the value with just their cost.
        """
        costs, qualities = hull(self.outcomes.cost_usd, self.outcomes.known_quality)
        more, better = np.diff(costs).ravel(), np.diff(qualities).ravel()
        steepest = np.argsort(-np.divide(better, more, out=np.zeros_like(better), where=more > 0), kind="stable")
        spent, gained = (np.append(0.0, values[steepest].cumsum()) for values in (more, better))
        return float(qualities[:, 0].sum() + np.interp(self.budget_usd - costs[:, 0].sum(), spent, gained))


def best_of(data: ReplayData) -> int:
    """Return the column of the candidate with the best mean quality."""
    return int(data.outcomes.means[:, 0].argmax())


Change = Callable[[BudgetStream, ReplayData, np.random.Generator], BudgetStream]


def drift(stream: BudgetStream, data: ReplayData, rng: np.random.Generator) -> BudgetStream:
    """From the middle on, half of the answers of the best candidate fail, and each costs half as much again as its price says."""
    outcomes, cost = degraded(stream.outcomes, best_of(data), rng), stream.outcomes.cost_usd.copy()
    cost[int(DEGRADES * len(cost)) :, best_of(data)] *= PRICE_RISE
    return attrs.evolve(stream, outcomes=attrs.evolve(outcomes, cost_usd=cost), reward=outcomes.known_quality)


def bursty(stream: BudgetStream, data: ReplayData, rng: np.random.Generator) -> BudgetStream:
    """Half of the requests come in eight bursts that take a twentieth of the day, the others at random times."""
    size = len(stream.reward)
    starts, length = rng.uniform(0, 1 - BURST_SHARE / BURSTS, BURSTS), BURST_SHARE / BURSTS
    burst = starts[rng.integers(BURSTS, size=size)] + length * rng.random(size)
    shares = np.where(rng.random(size) < 0.5, burst, rng.random(size))
    return attrs.evolve(stream, times=MIDNIGHT + DAY_S * np.sort(shares))


TRAFFIC: Mapping[str, Change] = {"stationary": stationary, "drift": drift, "bursty": bursty}


def make_budget_stream(traffic: str, data: ReplayData, steps: int, share: float, seed: int, number: int) -> BudgetStream:
    """Return a stream of one of ``TRAFFIC``, in which each row of the data occurs at most once.

    Its budget is a share of the way from the cost of the cheapest candidate on each request to that of the candidate with the best mean quality.
    """
    order, events = (np.random.default_rng((seed, number, part)) for part in range(2))
    rows = order.permutation(len(data.request))[:steps]
    outcomes = data.outcomes.take(rows)
    cheapest, best = outcomes.cost_usd.min(axis=1).sum(), outcomes.cost_usd[:, best_of(data)].sum()
    stream = BudgetStream(
        request=data.request.take(rows).with_preference(np.array((1.0, 0.0, 0.0))),
        outcomes=outcomes,
        reward=outcomes.known_quality,
        times=MIDNIGHT + DAY_S * np.sort(order.random(len(rows))),
        feedback_at=np.arange(1, len(rows) + 1) + order.integers(MAXIMUM_DELAY, size=len(rows)),
        budget_usd=float(cheapest + share * (best - cheapest)),
    )
    return TRAFFIC[traffic](stream, data, events)


PARETO = "paretobandit"
"""ParetoBandit (arXiv 2604.00136, ``paretobandit`` on PyPI), decided by its own package."""
COMPONENTS = 25


class PrincipalComponents:
    """The context of a request: whitened principal components of the embeddings of training rows, and a constant."""

    def __init__(self, request: RoutingRequest) -> None:
        embedding = _embedding(request)
        self._mean = embedding.mean(axis=0)
        _, scale, axes = np.linalg.svd(embedding - self._mean, full_matrices=False)
        kept = min(COMPONENTS, int((scale > 1e-6 * scale[0]).sum()))
        self._project = axes[:kept].T / (scale[:kept] / np.sqrt(len(embedding)))
        self.dimension, self.bias_index = kept + 1, kept

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
    options = {"feature_service": features, "bandit_seed": seed, "budget_pacer": pacer, "cost_penalty": 0.0}
    with TemporaryDirectory() as folder:
        priors = _priors(features, data, Path(folder))
        router = routing.BanditRouter.create(_registry(pool, data), priors=priors, **options)
    contexts, chosen = features.contexts(stream.request), list[int]()
    waiting: list[list[tuple[int, Any]]] = [[] for _ in range(len(stream.reward) + 100)]
    for step, context in enumerate(contexts):
        for past, log in waiting[step]:
            log.cost_usd = float(stream.outcomes.cost_usd[past, chosen[past]])
            router.process_feedback(log.request_id, float(stream.outcomes.known_quality[past, chosen[past]]))
        model, log = router.route(context)
        chosen.append(pool.index(model))
        waiting[stream.feedback_at[step]].append((step, log))
    return np.array(chosen)


def _priors(features: PrincipalComponents, data: ReplayData, folder: Path) -> str:
    """Write the package's file of offline priors, made as ``generate_warmup_priors`` does, which embeds texts; return its path, or ``"none"``."""
    if data.known_outcomes is None:
        return "none"
    contexts, statistics = features.contexts(data.training_request), dict[str, tuple[Floats, Floats]]()
    for name, quality in zip(data.request.pool.names, data.known_outcomes.known_quality.T, strict=True):
        known = np.isfinite(quality)
        statistics[name] = np.eye(features.dimension) + contexts[known].T @ contexts[known], quality[known] @ contexts[known]
    priors = {letter: {name: pair[i] for name, pair in statistics.items()} for i, letter in enumerate("Ab")}
    import_module("joblib").dump(priors, folder / "priors.joblib")
    return str(folder / "priors.joblib")


def _registry(pool: Pool, data: ReplayData) -> dict[str, dict[str, Any]]:
    """Return its description of the candidates: list prices, else their mean cost as that of 1,000 tokens."""
    means = data.request.expected.means[:, 1]
    found = {}
    for candidate, mean in zip(pool, means, strict=True):
        prices = candidate.prices
        given = (1000 * mean, 1000 * mean) if prices is None else (prices.input, prices.output)
        found[candidate.name] = {"model_id": candidate.name, "input_cost_per_m": float(given[0]), "output_cost_per_m": float(given[1])}
    return found


WRAPPED = "linear-thompson"
PER_DAY, UNKNOWN, PER_REQUEST, UNPACED = "paced (day)", "paced (day, unknown traffic)", "paced (mean)", f"{WRAPPED}, no limit"
OWN_ROUTERS = (PER_DAY, UNKNOWN, PER_REQUEST)
FIGURES = ("regret", "overspend", "quality", "cost_usd")
"""Regret to the linear program and quality, as means over requests; spending over the budget as a share of it; cost of a request in USD."""
FILE = "budgets.npz"


def measure(
    folder: Path,
    progress: Progress,
    settings: Mapping[str, Any],
    knowledge: str,
    traffic: Sequence[str],
    budgets: Sequence[float],
    routers: Sequence[str],
    streams: int,
    steps: int,
) -> dict[str, Any]:
    """Let every router decide every stream, and save ``FIGURES`` as ``[traffic, budgets, routers, streams]`` each."""
    given, plugins = read_settings(settings), get_plugin_manager()
    data = make_replay_data(given, knowledge, plugins, progress)
    found = np.empty((len(FIGURES), len(traffic), len(budgets), len(routers), streams))
    progress.start("Budgets", found[0, ..., 0, :].size)
    for place in np.ndindex(len(traffic), len(budgets), streams):
        t, b, number = place
        stream = make_budget_stream(traffic[t], data, steps, budgets[b], given.seed, number)
        for r, name in enumerate(routers):
            found[:, t, b, r, number] = figures_of(stream, choices_of(name, stream, data, plugins, given.seed, number))
        progress.advance()
    write_arrays(folder / FILE, dict(zip(FIGURES, found, strict=True)))
    return {"steps": min(steps, len(data.request)), "candidates": list(data.request.pool.names)}


def choices_of(name: str, stream: BudgetStream, data: ReplayData, plugins: Plugins, seed: int, number: int) -> NDArray[np.intp]:
    """Return the column of the candidate that a router chose for each request, ``[T]``."""
    if name == PARETO:
        return np.asarray(pareto_choices(stream, data, seed))
    size = len(stream.reward)
    limits: Mapping[str, Mapping[str, float]] = {
        PER_DAY: {"usd_per_day": stream.budget_usd, "requests_per_day": float(size)},
        UNKNOWN: {"usd_per_day": stream.budget_usd},
        PER_REQUEST: {"usd_per_1k": 1000 * stream.budget_usd / size},
    }
    options = {"router": WRAPPED, "over_budget": "cheapest", **limits.get(name, {})}

    def make() -> Router:
        router: Router = plugins.make("router", "paced", data.services, options) if name in limits else plugins.make("router", WRAPPED, data.services)
        quality_alone = np.array((1.0, 0.0, 0.0))
        router.train(attrs.evolve(data.training, request=data.training_request.with_preference(quality_alone)))
        return router

    return replay(make, stream, seed, f"{name}/{number}")


def figures_of(stream: BudgetStream, chosen: NDArray[np.intp]) -> tuple[float, float, float, float]:
    """Return ``FIGURES`` of choices ``[T]``."""
    cells = np.arange(len(chosen)), chosen
    quality, cost = stream.outcomes.known_quality[cells].mean(), stream.outcomes.cost_usd[cells]
    regret = stream.best_quality / len(chosen) - quality
    return float(regret), float(cost.sum() / stream.budget_usd - 1), float(quality), float(cost.mean())
