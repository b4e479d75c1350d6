"""How long ten routers x 43 preferences take to evaluate with all intervals, and how much memory.

``OMP_NUM_THREADS=1 python benchmarks/evaluation.py [ROWS]`` prints JSON. The table has 10,000 rows and ten candidates by
default; embeddings are given, training is not timed. ``means_ratio`` is how many times longer a plain loop, which draws one
resample after the other, takes for the means of one router at all preferences, measured in the
same run. ``cpu_s`` is the processors' time of the whole, which others on the machine do not add to.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from aamc_sdk import Dataset, Estimates, Outcomes, Pool, Preference, Query, Router, RoutingRequest, Services, Training, get_plugin_manager
from aamc_sdk.batch import Floats
from aamc_sdk.evaluation import compare_table, metrics
from aamc_sdk.evaluation.bootstrap import Resampling
from aamc_sdk.requests import build_request
from aamc_sdk.rewards import LinearReward
from aamc_sdk.types import Latency, ModelSpec, Prices

TRAINING_ROWS, ROWS, CANDIDATES, WIDTH, SUBJECTS = 2_000, 10_000, 10, 64, 20
RESAMPLES, PLAIN_RESAMPLES = 1_000, 20
ROUTERS = ("greedy", "llm-only", "slm-only", "best-single", "random", "knn", "ridge", "logistic", "mlp", "oracle")


def make_table(rows: int, pool: Pool, seed: int) -> tuple[RoutingRequest, Dataset]:
    """Return questions of several subjects, which the candidates master to different degrees."""
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
    """Return trained routers, and fit the reward."""
    plugins = get_plugin_manager()
    request, dataset = make_table(TRAINING_ROWS, pool, seed=1)
    assert dataset.outcomes is not None
    reward.fit(dataset.outcomes)
    services = Services(pool=pool, reward=reward, make=lambda *_: None)
    routers = {name: plugins.make("router", name, services) for name in ROUTERS}
    for router in routers.values():
        router.train(Training(dataset=dataset, request=request))
    return routers


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return how long some work takes, and what it returns."""
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def peak_mib() -> float:
    """Return the greatest memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def plain_means(values: Floats) -> Floats:
    """Return the means ``[B, K]`` of ``[Q, K]`` values, one resample after the other."""
    rng, rows = np.random.default_rng(0), len(values)
    return np.stack([values[rng.integers(rows, size=rows)].mean(axis=0) for _ in range(PLAIN_RESAMPLES)])


def main() -> None:
    """Measure and print."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    pool = Pool([ModelSpec(f"m{m}", prices=Prices(m + 1.0, m + 1.0), latency=Latency(service_ms=200.0 * (m + 1))) for m in range(CANDIDATES)])
    reward = LinearReward()
    routers = make_routers(pool, reward)
    request, dataset = make_table(rows, pool, seed=2)
    outcomes = dataset.outcomes
    assert outcomes is not None
    before = peak_mib()
    where: dict[str, Any] = {"categories": [""] * rows, "candidate_means": outcomes.means, "headline": Preference(), "seed": 0, "reward": reward}
    started = time.process_time()
    deciding_s, comparison = seconds(lambda: compare_table(routers, request, outcomes, **where))
    after_deciding = peak_mib()
    figures_s, _ = seconds(lambda: metrics(comparison, reward, resamples=RESAMPLES))
    computing_s, peak = time.process_time() - started, peak_mib()
    values = comparison.realised(0).known_quality.T.copy()
    ours_s, _ = seconds(lambda: Resampling.bootstrap(comparison.stream, RESAMPLES, 0).means(values))
    plain_s, _ = seconds(lambda: plain_means(values))
    report = {
        **{"rows": rows, "routers": len(routers), "preferences": len(comparison.preferences), "candidates": CANDIDATES},
        **{"resamples": RESAMPLES, "cores": os.cpu_count() or 1},
        **{"deciding_s": deciding_s, "figures_s": figures_s, "total_s": deciding_s + figures_s, "cpu_s": computing_s},
        **{"before_mib": before, "deciding_mib": after_deciding - before, "figures_mib": peak - after_deciding},
        "means_ratio": plain_s * RESAMPLES / PLAIN_RESAMPLES / ours_s,
    }
    print(json.dumps({name: round(value, 2) for name, value in report.items()}))


if __name__ == "__main__":
    main()
