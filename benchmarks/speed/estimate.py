"""One estimate of a text of about 65 tokens: ``tce`` on each runtime, and ``lexical``. All encoders: ``benchmarks/estimate.py``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from aamc_sdk import Estimator, Query, Services, Training, get_plugin_manager
from aamc_sdk.interfaces import Progress
from aamc_sdk.routing import LinearReward, default_pool
from speed.clock import cpu_s
from speed.measurement import Measurement, result

ROWS = {"n_train": 60, "n_validation": 1, "n_test": 1}
"""Enough rows to train heads, whose quality does not matter here."""
WORDS = ("merge", "table", "proof", "river", "cache", "sonnet", "vector", "budget", "tensor", "garden", "verdict", "syntax")
LENGTH = 60
"""Words of a text, each about a token."""
CASES: dict[str, tuple[str, dict[str, Any], str]] = {
    "tce": ("tce", {"epochs": 1}, "at most 9, 4 where int8 loses nothing"),
    "tce, torch": ("tce", {"epochs": 1, "runtime": "torch"}, ""),
    "lexical": ("lexical", {}, "well under 1"),
}
"""The estimator of each case, its options, and the goal in milliseconds."""


def measure(folder: Path, progress: Progress, full: bool) -> dict[str, Any]:
    """Measure milliseconds of CPU time, the median over new texts, in turns; and microseconds of a known text."""
    estimators = {name: trained(estimator, options) for name, (estimator, options, _) in CASES.items()}
    asked = list(texts(100 if full else 20))
    times: dict[str, list[float]] = {name: [] for name in estimators}
    for query in asked:
        for name, estimator in estimators.items():
            times[name].append(1e3 * cpu_s(partial(estimator.estimate, [query])))
    new = {name: float(np.median(found[2:])) for name, found in times.items()}  # the first ones warm up
    row: dict[str, Any] = {"unit": "ms", "beside": "tce, torch", "other": new["tce, torch"]}
    figures = [Measurement(what=f"estimate, {name}", value=new[name], goal=goal, **row) for name, (_, _, goal) in CASES.items()]
    cached = {name: 1e3 * cpu_s(partial(again, estimator, asked[:1])) for name, estimator in estimators.items()}
    figures += [Measurement(what=f"estimate, {name}, of a known text", unit="us", value=us, goal="at most 10") for name, us in cached.items()]
    return result(figures, "estimate", texts=len(asked))


def trained(name: str, options: dict[str, Any]) -> Estimator:
    """Return an estimator after a minimal training."""
    services, plugins = Services(pool=default_pool(), reward=LinearReward(), make=lambda *_: None, device="cpu"), get_plugin_manager()
    rows = plugins.make("dataset", "synthetic", services, ROWS).read("")
    estimator: Estimator = plugins.make("estimator", name, services, options)
    estimator.train(Training(dataset=rows["train"]))
    return estimator


def texts(count: int) -> Iterator[Query]:
    """Yield different texts of ``LENGTH`` words."""
    rng = np.random.default_rng()  # an estimator that keeps its embeddings on disk must not know them from the last time
    for _ in range(count):
        yield Query(" ".join(rng.choice(WORDS, LENGTH)))


def again(estimator: Estimator, queries: Sequence[Query]) -> None:
    """Estimate the same queries a thousand times: milliseconds of this are microseconds of one estimate."""
    for _ in range(1000):
        estimator.estimate(queries)
