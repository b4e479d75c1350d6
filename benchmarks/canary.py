"""The false alarms of ``aamc canary`` if it is evaluated after every feedback, and the feedback it needs to find a difference.

Prints a JSON line for each case. A stream is a trial of decisions with feedback: the routers choose different candidates in a
share of them, whose success probabilities differ by ``difference``. ``alarms`` is the share of streams with a verdict at any time;
``naive`` that of Student's test on the same streams, evaluated as often from the 30th feedback on; ``median_feedback`` the median number
of feedbacks before the verdict, null if fewer than half of the streams have one.

    python benchmarks/canary.py --streams 1000 --feedback 5000
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
from aamc_bandit.trial import Judgement, terms
from aamc_experiments.off_policy import ENOUGH, log_wealth

from aamc_sdk.types import Floats

CASES: dict[str, dict[str, Any]] = {
    "alike, half": {"share": 0.5, "difference": 0.0},
    "alike, a tenth": {"share": 0.1, "difference": 0.0},
    "alike, a hundredth": {"share": 0.01, "difference": 0.0},
    "alike, drifting while the share grows": {"share": 0.1, "difference": 0.0, "drift": True},
    "better by 0.1, half": {"share": 0.5, "difference": 0.1},
    "better by 0.1, a tenth": {"share": 0.1, "difference": 0.1},
    "worse by 0.2, a tenth": {"share": 0.1, "difference": -0.2},
}
AGREEMENT = 0.5
"""The share of decisions in which both routers choose the same candidate."""


def stream(seed: int, feedback: int, share: float, difference: float, drift: bool = False) -> list[Judgement]:
    """Return the decisions with feedback of one trial.

    Args:
        seed: All randomness follows from it.
        feedback: How many there are.
        share: The chance that the candidate's choice is drawn.
        difference: How much greater its chance of success is, where it chooses otherwise.
        drift: Whether success falls from 0.9 to 0.3 on the way, while the share grows from a tenth to a half.
    """
    generator = np.random.default_rng(seed)
    way = np.linspace(0, 1, feedback)
    shares = share + (0.5 - share) * way if drift else np.full(feedback, share)
    level = 0.9 - 0.6 * way if drift else np.full(feedback, 0.6)
    alike = generator.random(feedback) < AGREEMENT
    theirs = ~alike & (generator.random(feedback) < shares)
    quality = (generator.random(feedback) < level + difference * theirs).astype(np.float64)
    stable, candidate = np.where(theirs, 0.0, 1 / (1 - shares)), np.where(theirs, 1 / shares, 0.0)
    bounds = np.maximum.accumulate(np.maximum(1 / shares, 1 / (1 - shares)))
    return [
        Judgement(q, 1.0, 1.0, b) if same else Judgement(q, s, c, b)
        for q, same, s, c, b in zip(quality.tolist(), alike.tolist(), stable.tolist(), candidate.tolist(), bounds.tolist(), strict=True)
    ]


def first_verdict(judgements: list[Judgement]) -> int | None:
    """Return the number of feedbacks before the trial's verdict, or None."""
    _, differences, low = terms(judgements)
    found = [log_wealth(side * differences, low, 0.0) >= ENOUGH for side in (1.0, -1.0)]
    any_time = np.logical_or(*found)
    return int(any_time.argmax()) + 1 if any_time.any() else None


def naive_alarm(differences: Floats) -> bool:
    """Return whether a test for one evaluation finds a difference at any evaluation."""
    counts = np.arange(1, len(differences) + 1)
    mean = differences.cumsum() / counts
    deviation = np.sqrt(np.maximum(np.square(differences).cumsum() / counts - mean**2, 1e-12))
    return bool((np.abs(mean) > 1.96 * deviation / np.sqrt(counts))[29:].any())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="False alarms and power of the sequential test.")
    parser.add_argument("--streams", type=int, default=1000, help="trials in each case")
    parser.add_argument("--feedback", type=int, default=5000, help="decisions with feedback in each")
    options = parser.parse_args()
    for name, case in CASES.items():
        played = [stream(seed, options.feedback, **case) for seed in range(options.streams)]
        moments = [moment for judgements in played if (moment := first_verdict(judgements)) is not None]
        naive = [naive_alarm(terms(judgements)[1]) for judgements in played]
        found = {"alarms": len(moments) / len(played), "naive": float(np.mean(naive))}
        median = float(np.median(moments)) if len(moments) > len(played) / 2 else None
        print(json.dumps({"case": name, "streams": options.streams, "feedback": options.feedback, **found, "median_feedback": median}), flush=True)


if __name__ == "__main__":
    main()
