"""The coverage of the 95% intervals of off-policy estimates on real outcomes: prints a JSON line for each case.

The rows are LLMRouter's outcomes in ``AAMC_DATA``: nine models, and a tenth whose quality is their median. A replay draws rows
with replacement, lets a logging policy draw a candidate for each, and estimates another policy's mean quality; the truth
is that policy's mean over all rows. ``coverage`` is the share of replays whose interval covers it, ``width`` the mean width,
of the value and of the difference to the logged policy; ``refused`` is the share of replays without an estimate.

    python benchmarks/off_policy.py --replays 1000 --sizes 200 5000
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from typing import Any

import attrs
import numpy as np
from aamc_experiments.off_policy import Choices, estimate, refusal
from outcomes import whole

from aamc_sdk.types import Floats

LOGGING = ("uniform", "epsilon 0.3", "epsilon 0.05")
TARGETS = ("best single", "contextual", "a tenth elsewhere")
NOISE = 0.3
"""Standard deviation of the error of the quality that policies and outcome models know."""


@attrs.frozen(eq=False)
class Case:
    """A table of outcomes ``[Q, K]``, and two policies on it; ``prior`` is the log's expected quality of each candidate."""

    quality: Floats
    logging: Floats
    target: Floats
    prior: Floats


def table() -> Floats:
    """Return LLMRouter's qualities with a tenth candidate, ``[Q, 10]``."""
    outcomes = whole("llmrouter").outcomes
    assert outcomes is not None
    quality = outcomes.known_quality
    return np.column_stack((quality, np.median(quality, axis=1)))


def one_hot(chosen: Any, shape: tuple[int, ...]) -> Floats:
    """Return probabilities with one candidate for each row."""
    return np.equal.outer(np.broadcast_to(chosen, shape[0]), np.arange(shape[1])).astype(np.float64)


def make_case(quality: Floats, logging: str, target: str) -> Case:
    """Return a case, whose policies know quality with an error."""
    blurred = quality + NOISE * np.random.default_rng(0).normal(size=quality.shape)
    order = quality.mean(axis=0).argsort()
    typical, best = one_hot(order[len(order) // 2], quality.shape), one_hot(order[-1], quality.shape)
    epsilon = 1.0 if logging == "uniform" else float(logging.split()[1])
    targets = {"best single": best, "contextual": one_hot(blurred.argmax(axis=1), quality.shape), "a tenth elsewhere": 0.9 * typical + 0.1 * best}
    return Case(quality, (1 - epsilon) * typical + epsilon / quality.shape[1], targets[target], np.clip(blurred, 0.0, 1.0))


def replay(case: Case, size: int, expected: bool, seed: int) -> dict[str, Any] | None:
    """Return the estimates from one log, or None if it gives none."""
    generator = np.random.default_rng(seed)
    rows = generator.integers(len(case.quality), size=size)
    below = case.logging[rows].cumsum(axis=1) <= generator.random(size)[:, None]
    chosen = np.minimum(below.sum(axis=1), case.quality.shape[1] - 1)
    choices = Choices(chosen, case.logging[rows], case.target[rows])
    if refusal(choices):
        return None
    prior = case.prior[rows] if expected else np.full(choices.target.shape, np.nan)
    return dict(estimate(case.quality[rows, chosen], choices, prior, 0.0, 1.0))


def measure(case: Case, size: int, expected: bool, replays: int) -> dict[str, Any]:
    """Return coverage and width of each estimator's intervals."""
    truth = {"value": float((case.target * case.quality).sum(axis=1).mean())}
    truth["difference"] = truth["value"] - float((case.logging * case.quality).sum(axis=1).mean())
    figures: defaultdict[str, dict[str, float]] = defaultdict(dict)
    answered = [found for seed in range(replays) if (found := replay(case, size, expected, seed)) is not None]
    for name in answered[0] if answered else ():
        for what, interval in (("value", "ci95"), ("difference", "difference_ci95")):
            bounds = np.array([getattr(found[name], interval) for found in answered])
            held = (bounds[:, 0] <= truth[what]) & (truth[what] <= bounds[:, 1])
            figures[name] |= {f"{what}_coverage": float(held.mean()), f"{what}_width": float((bounds[:, 1] - bounds[:, 0]).mean())}
    return {"refused": 1 - len(answered) / replays, **figures}


def cases(graded: Floats, sizes: list[int]) -> Iterator[tuple[dict[str, Any], Any]]:
    """Yield the description of each case and the function that measures it."""
    for kind, quality in (("graded", graded), ("binary", (graded >= 0.5).astype(np.float64))):
        for logging in LOGGING:
            for target in TARGETS:
                for size in sizes:
                    expected = target == "contextual"  # elsewhere the outcome model has nothing to start from
                    about = {"outcomes": kind, "logging": logging, "target": target, "n": size, "expected_quality": expected}
                    yield about, partial(measure, make_case(quality, logging, target), size, expected)


def main() -> None:
    parser = argparse.ArgumentParser(description="Coverage of off-policy intervals on real outcomes.")
    parser.add_argument("--replays", type=int, default=1000, help="logs in each case")
    parser.add_argument("--sizes", type=int, nargs="+", default=[200, 5000], help="decisions in a log")
    options = parser.parse_args()
    if "AAMC_DATA" not in os.environ:
        sys.exit("AAMC_DATA must name the folder of the outcome data")
    least = 1.0
    for about, measured in cases(table(), options.sizes):
        figures = measured(options.replays)
        print(json.dumps({**about, **figures}), flush=True)
        least = min([least, *(row[key] for row in figures.values() if isinstance(row, dict) for key in row if key.endswith("coverage"))])
    print(json.dumps({"replays": options.replays, "least_coverage": least}))


if __name__ == "__main__":
    main()
