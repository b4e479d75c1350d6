"""How long one estimate takes: ``lexical`` beside ``tce`` with its bundled encoder, both trained on the same synthetic rows.

``OMP_NUM_THREADS=1 python benchmarks/lexical.py`` prints JSON. Each text has about 300 characters, some 65 tokens, and is estimated
once, alone, by both in turn, so nothing comes from a cache. Times are microseconds; ``ratio`` is the median over texts of tce's
time divided by lexical's. The expected quality of the six candidates is timed by itself.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from aamc_sdk import Dataset, Estimator, Query, Services, Training, get_plugin_manager
from aamc_sdk.plugins import Plugins
from aamc_sdk.pools import default_pool
from aamc_sdk.rewards import LinearReward

TRAINING_ROWS, TEXTS, WARM_UP = 500, 300, 20
CHARACTERS = 300
OPTIONS: Mapping[str, Mapping[str, Any]] = {"lexical": {}, "tce": {"epochs": 1}}
"""What is trained does not change how long an estimate takes, so ``tce`` is trained shortly."""


def microseconds(work: Callable[[], Any]) -> float:
    """Return how long some work takes."""
    started = time.perf_counter()
    work()
    return 1e6 * (time.perf_counter() - started)


def long_queries(queries: Sequence[Query]) -> list[Query]:
    """Join short queries to texts of at least ``CHARACTERS``."""
    texts = [""]
    for query in queries:
        texts[-1] = f"{texts[-1]} {query.text}".strip()
        if len(texts[-1]) >= CHARACTERS:
            texts.append("")
    return [Query(text) for text in texts[:-1]]


def make_splits(plugins: Plugins, services: Services) -> tuple[Dataset, list[Query]]:
    """Return training rows with outcomes of the simulator, and texts to estimate."""
    sizes = {"n_train": TRAINING_ROWS, "n_validation": 10, "n_test": 20 * TEXTS}
    splits = plugins.make("dataset", "synthetic", services, sizes).read("")
    environment = plugins.make("environment", "queue", services)
    environment.prepare(splits)
    return environment.dataset("train"), long_queries(splits["test"].queries)[: TEXTS + WARM_UP]


def figures(times: Sequence[float]) -> dict[str, float]:
    """Return the median and the 90th percentile."""
    return {"median_us": round(float(np.median(times)), 1), "p90_us": round(float(np.percentile(times, 90)), 1)}


def main() -> None:
    """Train both, measure, print."""
    plugins = get_plugin_manager()
    services = Services(pool=default_pool(), reward=LinearReward(), make=lambda *_: None, device="cpu")
    dataset, queries = make_splits(plugins, services)
    estimators: dict[str, Estimator] = {name: plugins.make("estimator", name, services, options) for name, options in OPTIONS.items()}
    result: dict[str, Any] = {"texts": len(queries) - WARM_UP, "mean_characters": round(float(np.mean([len(query.text) for query in queries])))}
    estimating: dict[str, list[float]] = {name: [] for name in estimators}
    for name, estimator in estimators.items():
        result[name] = {"train_s": round(microseconds(lambda: estimator.train(Training(dataset=dataset))) / 1e6, 1)}  # noqa: B023  # called at once
    for query in queries:
        for name, estimator in estimators.items():
            estimating[name].append(microseconds(lambda: estimator.estimate([query])))  # noqa: B023  # called at once
    for name, estimator in estimators.items():
        estimates = estimator.estimate(queries)
        rows = range(WARM_UP, len(queries))
        quality = [microseconds(lambda: estimator.quality(estimates.take([row]), services.pool)) for row in rows]  # noqa: B023  # called at once
        result[name] |= {"estimate": figures(estimating[name][WARM_UP:]), "quality": figures(quality)}
    ratios = np.array(estimating["tce"][WARM_UP:]) / np.array(estimating["lexical"][WARM_UP:])
    machine = {"python": platform.python_version(), "cores": os.cpu_count(), "threads": os.environ.get("OMP_NUM_THREADS", "all")}
    print(json.dumps(result | {"ratio": round(float(np.median(ratios)), 1), "machine": machine}, indent=1))


if __name__ == "__main__":
    main()
