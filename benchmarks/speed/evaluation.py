"""Ten routers x 43 preferences on a table of 10,000 rows x 10 candidates, with all intervals; embeddings are given, training is not timed.

It is compared with a plain bootstrap, which draws one resample after the other, for the means of one router at all preferences.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from aamc_bench.experiment_runs import chosen_routers
from aamc_experiments.evaluation import ComparisonRequest, Resampling, compare_table, metrics
from aamc_experiments.settings import Evaluation

from aamc_sdk import Dataset, Estimates, Outcomes, Pool, Preference, Query, Router, RoutingRequest, Services, Training, get_plugin_manager
from aamc_sdk.interfaces import Progress
from aamc_sdk.routing import LinearReward, build_request
from aamc_sdk.types import Floats, Latency, ModelSpec, Prices
from speed.clock import cpu_and_wall_s, minimum_cpu_s, peak_mib
from speed.measurement import Measurement, result

TRAINING_ROWS, CANDIDATES, WIDTH, SUBJECTS = 2_000, 10, 64, 20
RESAMPLES, PLAIN_RESAMPLES = 1_000, 20
ROUTERS = ("greedy", "llm-only", "slm-only", "best-single", "random", "knn", "ridge", "logistic", "mlp", "oracle")


def measure(folder: Path, progress: Progress, full: bool) -> dict[str, Any]:
    """Measure seconds and memory, on fewer rows unless ``full``."""
    rows = 10_000 if full else 2_000
    pool = Pool([ModelSpec(f"m{m}", prices=Prices(m + 1.0, m + 1.0), latency=Latency(service_ms=200.0 * (m + 1))) for m in range(CANDIDATES)])
    reward = LinearReward()
    routers = make_routers(pool, reward)
    request, dataset = make_table(rows, pool, seed=2)
    outcomes = dataset.outcomes
    assert outcomes is not None  # made just now
    where: dict[str, Any] = {"candidate_means": outcomes.means, "headline": Preference(), "seed": 0, "reward": reward}
    found: dict[str, Any] = {}

    def evaluate() -> None:
        found["comparison"] = compare_table(ComparisonRequest(routers=routers, request=request, categories=[""] * rows, **where), outcomes)
        metrics(found["comparison"], reward, Evaluation(resamples=RESAMPLES))

    before = peak_mib()
    cpu, wall = cpu_and_wall_s(evaluate)
    held, comparison = peak_mib() - before, found["comparison"]
    values = comparison.realised(0).known_quality.T.copy()
    ours = partial(Resampling.bootstrap(comparison.stream, RESAMPLES, 0).means, values)
    seconds = minimum_cpu_s({"ours": ours, "plain": partial(plain_means, values)}, 3)
    what = f"{len(routers)} routers x {len(comparison.preferences)} preferences, {rows:,} rows x {CANDIDATES} candidates"
    beside: dict[str, Any] = {"beside": "a plain bootstrap, extrapolated", "other": seconds["plain"] * RESAMPLES / PLAIN_RESAMPLES}
    figures = [
        Measurement(what=what, unit="s of CPU", value=cpu, goal="under 30 with 10,000 rows"),
        Measurement(what=f"{RESAMPLES:,} resamples of one router's means", unit="s of CPU", value=seconds["ours"], **beside),
        Measurement(what="memory beyond routers and rows", unit="MiB", value=held),
    ]
    return result(figures, "evaluation", wall_s=wall, resamples=RESAMPLES, routers=list(routers))


def make_table(rows: int, pool: Pool, seed: int) -> tuple[RoutingRequest, Dataset]:
    """Return questions of several subjects, in which the candidates have different skills."""
    world, rng = np.random.default_rng(0), np.random.default_rng(seed)  # one world, several tables
    centres, skill = world.normal(size=(SUBJECTS, WIDTH)), world.normal(size=(SUBJECTS, CANDIDATES))
    subject = rng.integers(SUBJECTS, size=rows)
    chance = 1 / (1 + np.exp(-skill[subject] - np.linspace(-1, 1, CANDIDATES)))
    cost = np.geomspace(1e-5, 1e-2, CANDIDATES) * rng.lognormal(sigma=0.5, size=(rows, 1))
    latency = np.linspace(200, 2000, CANDIDATES) * rng.lognormal(sigma=0.3, size=(rows, CANDIDATES))
    outcomes = Outcomes((rng.random(chance.shape) < chance).astype(np.float64), cost, latency)
    unknown = np.full(rows, np.nan)
    estimates = Estimates(unknown, np.empty((rows, 0)), (), unknown, embedding=centres[subject] + rng.normal(size=(rows, WIDTH)))
    queries = [Query(f"question {n} about subject {of}") for n, of in enumerate(subject)]
    request = build_request(queries, pool, Preference().array, estimates=estimates, quality=chance)
    return request, Dataset(queries, pool, outcomes)


def make_routers(pool: Pool, reward: LinearReward) -> dict[str, Router]:
    """Return the installed routers, trained, and fit the reward."""
    plugins = get_plugin_manager()
    request, dataset = make_table(TRAINING_ROWS, pool, seed=1)
    assert dataset.outcomes is not None
    reward.fit(dataset.outcomes)
    services = Services(pool=pool, reward=reward, make=lambda *_: None)
    routers = {name: plugins.make("router", name, services) for name in chosen_routers(None, ROUTERS)}
    for router in routers.values():
        router.train(Training(dataset=dataset, request=request))
    return routers


def plain_means(values: Floats) -> Floats:
    """Return the means ``[B, K]`` of ``[Q, K]`` values, one resample after the other."""
    rng, rows = np.random.default_rng(0), len(values)
    return np.stack([values[rng.integers(rows, size=rows)].mean(axis=0) for _ in range(PLAIN_RESAMPLES)])
