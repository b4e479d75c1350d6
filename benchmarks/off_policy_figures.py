"""The coverage of the 95% intervals of cost, latency and utility from logs: prints a JSON line for each case.

Seven candidates have the same high quality; their mean costs fall from 1 to 0.05, their mean latencies rise from 0.1 to 1, and
each call's are log-normal around them, with a standard deviation ``sigma`` of the logarithm. A log draws candidates
uniformly, and the other policy takes one of the first two. Ranges are taken from each log, as ``aamc evaluate --logs`` does.
``coverage`` is the share of the logs whose interval covers the truth, the minimum over the logged policy's mean and the three
estimators' values and differences; ``width`` is the mean width of the doubly robust one.

    python benchmarks/off_policy_figures.py --logs 400
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from aamc_experiments.off_policy import BoundedOutcome, Choices, bounded_outcomes, estimate, mean_interval, refusal

from aamc_sdk.routing import LinearReward
from aamc_sdk.types import Floats, Outcomes

SIZES, SIGMAS = (100, 200, 1000), (0.0, 1.0, 1.5, 2.0)
COST_USD, LATENCY_MS = np.geomspace(1.0, 0.05, 7), np.geomspace(0.1, 1.0, 7)
PREFERENCE = (0.9, 0.05, 0.05)
LOGGED = np.full(7, 1 / 7)
TARGET = np.array([0.5, 0.5, 0, 0, 0, 0, 0])


def means(quality: float) -> Outcomes:
    """Return each candidate's mean outcomes, ``[1, 7]``."""
    return Outcomes(np.full((1, 7), quality), COST_USD[None], LATENCY_MS[None])


def draw(quality: float, sigma: float, size: int, generator: np.random.Generator) -> tuple[Choices, Outcomes]:
    """Return a log's choices and their outcomes, ``[size, 1]``."""
    chosen = generator.integers(7, size=size)
    cost, latency = (mean[chosen] * np.exp(sigma * generator.normal(size=size) - sigma**2 / 2) for mean in (COST_USD, LATENCY_MS))
    good = (generator.random(size) < quality).astype(np.float64)
    return Choices(chosen, np.tile(LOGGED, (size, 1)), np.tile(TARGET, (size, 1))), Outcomes(good[:, None], cost[:, None], latency[:, None])


def intervals(figure: BoundedOutcome, choices: Choices) -> Iterator[tuple[str, str, list[float]]]:
    """Yield each estimator, its quantity, and its interval."""
    yield "logged", "logged", mean_interval(figure.values, figure.low, figure.high)
    for name, found in estimate(figure.values, choices, figure.prior, figure.low, figure.high).items():
        yield name, "value", found.ci95
        yield name, "difference", found.difference_ci95


def measure(quality: float, sigma: float, size: int, logs: int) -> dict[str, dict[str, float]]:
    """Return coverage and width by quantity."""
    reward = LinearReward()
    reward.fit(means(quality))
    utility = reward.scalar(means(quality), np.array([PREFERENCE]))
    by_candidate = {"quality": np.full(7, quality), "cost_usd": COST_USD, "latency_ms": LATENCY_MS, "utility": utility[0]}
    truths = {name: _truths(values) for name, values in by_candidate.items()}
    held: dict[str, defaultdict[tuple[str, str], int]] = {name: defaultdict(int) for name in truths}
    width = dict.fromkeys(truths, 0.0)
    nothing = Outcomes(*np.full((3, size, 7), np.nan))
    for seed in range(logs):
        choices, earned = draw(quality, sigma, size, np.random.default_rng(seed))
        assert refusal(choices) is None
        found = bounded_outcomes(earned, nothing, choices.logged > 0, reward, np.tile(PREFERENCE, (size, 1)))
        for name, figure in found.items():
            for estimator, what, (low, high) in intervals(figure, choices):
                held[name][estimator, what] += low <= truths[name][what] <= high
                width[name] += (high - low) / logs if (estimator, what) == ("doubly_robust", "value") else 0.0
    return {name: {"coverage": min(counts.values()) / logs, "width": width[name]} for name, counts in held.items()}


def _truths(means: Floats) -> dict[str, float]:
    logged, value = float(LOGGED @ means), float(TARGET @ means)
    return {"logged": logged, "value": value, "difference": value - logged}


def main() -> None:
    parser = argparse.ArgumentParser(description="Coverage of intervals from logs, of cost, latency and utility.")
    parser.add_argument("--logs", type=int, default=400, help="logs in each case")
    parser.add_argument("--quality", type=float, default=0.985, help="the share of good answers")
    options = parser.parse_args()
    for sigma, size in itertools.product(SIGMAS, SIZES):
        print(json.dumps({"sigma": sigma, "n": size, **measure(options.quality, sigma, size, options.logs)}), flush=True)


if __name__ == "__main__":
    main()
