"""Coverage of the 95% intervals from logs for cost, latency and utility: prints a JSON line for each case.

Seven candidates answer equally well and seldom badly. Their mean costs fall from 1 to 0.05, their mean latencies rise from 0.1 to
1; single calls are log-normal around these means, with a standard deviation ``sigma`` of the logarithm. A log draws candidates
uniformly, and the other policy chooses one of the first two. Ranges are taken from each log, as in ``aamc evaluate --logs``.
``coverage`` is the share of logs whose interval contains the true value, the minimum over the logged policy's mean and the three
estimators' values and differences. ``width`` is the mean width of the doubly robust interval.

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
    """Return the mean outcomes of the candidates, ``[1, 7]``."""
    return Outcomes(np.full((1, 7), quality), COST_USD[None], LATENCY_MS[None])


def draw(quality: float, sigma: float, size: int, generator: np.random.Generator) -> tuple[Choices, Outcomes]:
    """Return the choices of a log and their outcomes, ``[size, 1]``."""
    chosen = generator.integers(7, size=size)
    cost, latency = (mean[chosen] * np.exp(sigma * generator.normal(size=size) - sigma**2 / 2) for mean in (COST_USD, LATENCY_MS))
    good = (generator.random(size) < quality).astype(np.float64)
    return Choices(chosen, np.tile(LOGGED, (size, 1)), np.tile(TARGET, (size, 1))), Outcomes(good[:, None], cost[:, None], latency[:, None])


def intervals(outcome: BoundedOutcome, choices: Choices) -> Iterator[tuple[str, str, list[float]]]:
    """Yield the estimator, the estimated quantity and its interval."""
    yield "logged", "logged", mean_interval(outcome.values, outcome.low, outcome.high)
    for name, found in estimate(outcome.values, choices, outcome.prior, outcome.low, outcome.high).items():
        yield name, "value", found.ci95
        yield name, "difference", found.difference_ci95


def measure(quality: float, sigma: float, size: int, logs: int) -> dict[str, dict[str, float]]:
    """Return coverage and width by kind of outcome."""
    reward = LinearReward()
    reward.fit(means(quality))
    utility = reward.scalar(means(quality), np.array([PREFERENCE]))
    by_candidate = {"quality": np.full(7, quality), "cost_usd": COST_USD, "latency_ms": LATENCY_MS, "utility": utility[0]}
    truths = {name: _truths(values) for name, values in by_candidate.items()}
    held: dict[str, defaultdict[tuple[str, str], int]] = {name: defaultdict(int) for name in truths}
    width = dict.fromkeys(truths, 0.0)
    nothing = Outcomes(*np.full((3, size, 7), np.nan))
    for seed in range(logs):
        choices, observed = draw(quality, sigma, size, np.random.default_rng(seed))
        assert refusal(choices) is None
        found = bounded_outcomes(observed, nothing, choices.logged > 0, reward, np.tile(PREFERENCE, (size, 1)))
        for name, outcome in found.items():
            for estimator, quantity, (low, high) in intervals(outcome, choices):
                held[name][estimator, quantity] += low <= truths[name][quantity] <= high
                width[name] += (high - low) / logs if (estimator, quantity) == ("doubly_robust", "value") else 0.0
    return {name: {"coverage": min(counts.values()) / logs, "width": width[name]} for name, counts in held.items()}


def _truths(means: Floats) -> dict[str, float]:
    logged, value = float(LOGGED @ means), float(TARGET @ means)
    return {"logged": logged, "value": value, "difference": value - logged}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Coverage of intervals from logs for cost, latency and utility.")
    parser.add_argument("--logs", type=int, default=400, help="Logs in each case (default: 400).")
    parser.add_argument("--quality", type=float, default=0.985, help="Share of good answers (default: 0.985).")
    options = parser.parse_args()
    for sigma, size in itertools.product(SIGMAS, SIZES):
        print(json.dumps({"sigma": sigma, "n": size, **measure(options.quality, sigma, size, options.logs)}), flush=True)


if __name__ == "__main__":
    main()
