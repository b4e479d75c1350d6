"""Time of one estimate by ``lexical`` and by ``tce`` with its bundled encoder, both trained on the same synthetic rows.

``OMP_NUM_THREADS=1 python benchmarks/lexical.py`` prints JSON. Each text has about 300 characters, some 65 tokens, and each estimator
estimates it once, alone, so caches have no effect. Times are CPU microseconds, which are less sensitive to other load than wall-clock
time; ``ratio`` is the median over texts of tce's time divided by lexical's. The expected quality of the pool's candidates is timed
separately.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from speed.clock import cpu_s

from aamc_sdk import Dataset, Estimator, Pool, Query, Services, Training, get_plugin_manager
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import LinearReward, default_pool

TRAINING_ROWS, TEXTS, WARM_UP = 500, 300, 20
CHARACTERS = 200
OPTIONS: Mapping[str, Mapping[str, Any]] = {"lexical": {}, "tce": {"epochs": 1}}
"""The training does not change the time of an estimate, so ``tce`` is trained briefly."""


def microseconds(work: Callable[[Any], Any], inputs: Iterable[Any]) -> list[float]:
    """Return the CPU time of each input in microseconds."""
    return [1e6 * cpu_s(partial(work, given)) for given in inputs]


def long_queries(queries: Sequence[Query]) -> list[Query]:
    """Join short queries to texts of at least ``CHARACTERS``, one and a half times that on average."""
    texts = [""]
    for query in queries:
        texts[-1] = f"{texts[-1]} {query.text}".strip()
        if len(texts[-1]) >= CHARACTERS:
            texts.append("")
    return [Query(text) for text in texts[:-1]]


def make_splits(plugins: Plugins, services: Services) -> tuple[Dataset, list[Query]]:
    """Return training rows with simulated outcomes, and texts to estimate."""
    sizes = {"n_train": TRAINING_ROWS, "n_validation": 10, "n_test": 20 * TEXTS}
    splits = plugins.make("dataset", "synthetic", services, sizes).read("")
    environment = plugins.make("environment", "queue", services)
    environment.prepare(splits)
    return environment.dataset("train"), long_queries(splits["test"].queries)[: TEXTS + WARM_UP]


def figures(times: Sequence[float]) -> dict[str, float]:
    return {"median_us": round(float(np.median(times)), 1), "p90_us": round(float(np.percentile(times, 90)), 1)}


def measure(estimator: Estimator, dataset: Dataset, queries: Sequence[Query], pool: Pool) -> tuple[dict[str, Any], list[float]]:
    """Train an estimator; return its figures, and the time of each estimate."""
    training = microseconds(estimator.train, [Training(dataset=dataset)])
    estimating = microseconds(lambda query: estimator.estimate([query]), queries)[WARM_UP:]
    estimates = estimator.estimate(queries)
    quality = microseconds(lambda row: estimator.quality(estimates.take([row]), pool), range(len(queries)))[WARM_UP:]
    return {"train_s": round(training[0] / 1e6, 1), "estimate": figures(estimating), "quality": figures(quality)}, estimating


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    plugins, pool = get_plugin_manager(), default_pool()
    services = Services(pool=pool, reward=LinearReward(), make=lambda *_: None, device="cpu")
    dataset, queries = make_splits(plugins, services)
    result: dict[str, Any] = {"texts": TEXTS, "mean_characters": round(float(np.mean([len(query.text) for query in queries])))}
    times: dict[str, list[float]] = {}
    for name, options in OPTIONS.items():
        result[name], times[name] = measure(plugins.make("estimator", name, services, options), dataset, queries, pool)
    result["ratio"] = round(float(np.median(np.array(times["tce"]) / np.array(times["lexical"]))), 1)
    result["machine"] = {"python": platform.python_version(), "cores": os.cpu_count(), "threads": os.environ.get("OMP_NUM_THREADS", "all")}
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
