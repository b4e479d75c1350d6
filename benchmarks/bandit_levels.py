"""Measures the mean quality of ``thompson`` on real outcomes with bandit feedback, for each combination of its levels; prints JSON.

``AAMC_DATA=DATA python benchmarks/bandit_levels.py choose|report`` replays LLMRouter's rows in random order: each row is decided,
and the outcome of the chosen candidate is learned at once. The category is the row's task. Each of ``users`` users, drawn at
random, has a preference for each candidate: a normal number with standard deviation ``taste``, added to the quality. ``choose``
replays the training rows (70/10/20 by a hash of the text, seed 0), ``report`` all others, with different seeds. Results are also
written to stderr one by one.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from aamc_experiments.data import split_rows
from outcomes import whole

from aamc_sdk.config import configure
from aamc_sdk.interfaces import Services
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import LinearReward, build_request, decide
from aamc_sdk.types import Dataset, Estimates, Experience, Feedback, Query, normalized_text

USERS, TASTES = 100, (0.1, 0.3)
SEEDS = {"choose": range(5), "report": range(100, 106)}
QUALITY_ONLY = np.array([1.0, 0.0, 0.0])
BY_CATEGORY = {
    f"shrinkage {strength:g} of {most:g}": {"category_strength": strength, "max_category_prior": most}
    for strength, most in ((3.0, 10.0), (3.0, 25.0), (5.0, 5.0), (5.0, 10.0), (5.0, 25.0), (10.0, 50.0), (25.0, 100.0))
} | {name: {"blend": name, "cost_awareness": False} for name in ("linear", "published")}
BY_USER = {"without users": {"enable_personalization": False}, "linear": {"blend": "linear"}} | {
    f"shrinkage {strength:g} of {most:g}": {"personal_strength": strength, "max_personal_prior": most}
    for strength, most in ((5.0, 25.0), (10.0, 50.0), (20.0, 50.0), (20.0, 100.0), (45.0, 100.0))
}


def load(step: str) -> Dataset:
    """Return LLMRouter's rows for a step."""
    read = whole("llmrouter")
    sides = split_rows([normalized_text(query.text) for query in read.queries], seed=0)
    return read.take(sides["train"] if step == "choose" else np.concatenate((sides["validation"], sides["test"])))


def earned(dataset: Dataset, options: Mapping[str, Any], seed: int, users: int, taste: float) -> float:
    """Return the mean quality of one replay."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(dataset))
    row_users = rng.integers(users, size=len(rows)) if users else None
    tastes = rng.normal(0, taste, size=(max(users, 1), len(dataset.pool)))
    target = Plugins().load("router", "thompson")
    router = target(configure(target.Config, {"discount": 1.0, **options}), Services(pool=dataset.pool, reward=LinearReward(), make=lambda *_: None))
    names, known = np.unique(dataset.labels.category, return_inverse=True)
    assert dataset.outcomes is not None
    total, outcomes = 0.0, dataset.outcomes.known_quality
    for step, row in enumerate(rows):
        user = 0 if row_users is None else int(row_users[step])
        queries = [Query(dataset.queries[row].text, user=None if row_users is None else f"user {user}")]
        nothing = np.full(1, np.nan)
        estimates = Estimates(nothing, np.eye(len(names))[known[row]][None], tuple(names.tolist()), nothing)
        request = build_request(queries, dataset.pool, QUALITY_ONLY, estimates=estimates)
        (decision,) = decide(router.score(request), request, [f"{seed}/{step}"], router="thompson", sample=True, seed=seed)
        m = dataset.pool.index(decision.candidate)
        quality = float(np.clip(outcomes[row, m] + tastes[user, m], 0, 1))
        feedback = [Feedback(decision_id=decision.id, quality=quality)]
        router.learn(Experience(step, queries, estimates, [decision], feedback, made=1))
        total += quality
    return total / len(rows)


def table(dataset: Dataset, compared: Mapping[str, Mapping[str, Any]], seeds: range, users: int, taste: float) -> dict[str, list[float]]:
    """Return each setting's mean over the seeds, and its standard error."""
    result = {}
    for name, options in compared.items():
        means = np.array([earned(dataset, options, seed, users, taste) for seed in seeds])
        result[name] = [round(float(means.mean()), 4), round(float(means.std(ddof=1) / np.sqrt(len(seeds))), 4)]
        print(users, taste, name, result[name], file=sys.stderr, flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=SEEDS)
    step = parser.parse_args().step
    seeds, dataset = SEEDS[step], load(step)
    found = {"by category": table(dataset, BY_CATEGORY, seeds, 0, 0.0)}
    found |= {f"{USERS} users, taste {taste}": table(dataset, BY_USER, seeds, USERS, taste) for taste in TASTES}
    print(json.dumps({"seeds": len(seeds), "rows": len(dataset), "mean and standard error": found}, indent=1))


if __name__ == "__main__":
    main()
