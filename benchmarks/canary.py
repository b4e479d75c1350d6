"""Measures the false alarms of ``aamc canary`` when it is looked at after every feedback, and the feedback it needs to find a difference.

Prints one JSON line per case. A stream is a trial: in a share of its judged decisions the routers choose different candidates,
whose success probabilities differ by ``difference``. ``alarms`` is the share of streams with a verdict at any time, ``naive`` the
same share for Student's test on the same terms, looked at after every feedback from the 30th on. ``median_feedback`` is the median
number of feedbacks until the verdict, null if fewer than half of the streams have one.

    python benchmarks/canary.py --streams 1000 --feedback 5000
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
from aamc_bandit.trials.trial_statistics import JudgedDecision, betting_terms
from aamc_experiments.off_policy import LOG_WEALTH_BOUND, log_wealth

from aamc_sdk.types import Floats

CASES: dict[str, dict[str, Any]] = {
    "equal, share 0.5": {"share": 0.5, "difference": 0.0},
    "equal, share 0.1": {"share": 0.1, "difference": 0.0},
    "equal, share 0.01": {"share": 0.01, "difference": 0.0},
    "equal, quality drifts while the share grows": {"share": 0.1, "difference": 0.0, "drift": True},
    "better by 0.1, share 0.5": {"share": 0.5, "difference": 0.1},
    "better by 0.1, share 0.1": {"share": 0.1, "difference": 0.1},
    "worse by 0.2, share 0.1": {"share": 0.1, "difference": -0.2},
}
AGREEMENT = 0.5
"""The share of decisions in which both routers choose the same candidate."""


def stream(seed: int, feedback: int, share: float, difference: float, drift: bool = False) -> list[JudgedDecision]:
    """Return the decisions with feedback of one trial.

    ``share`` is the probability that the challenger serves, ``difference`` its success probability minus that of the stable router, where their
    choices differ. With ``drift``, success falls from 0.9 to 0.3 during the trial, while the share grows from 0.1 to 0.5.
    """
    generator = np.random.default_rng(seed)
    progress = np.linspace(0, 1, feedback)
    shares = share + (0.5 - share) * progress if drift else np.full(feedback, share)
    level = 0.9 - 0.6 * progress if drift else np.full(feedback, 0.6)
    alike = generator.random(feedback) < AGREEMENT
    by_candidate = ~alike & (generator.random(feedback) < shares)
    quality = (generator.random(feedback) < level + difference * by_candidate).astype(np.float64)
    stable, candidate = np.where(by_candidate, 0.0, 1 / (1 - shares)), np.where(by_candidate, 1 / shares, 0.0)
    bounds = np.maximum.accumulate(np.maximum(1 / shares, 1 / (1 - shares)))
    return [
        JudgedDecision(q, 1.0, 1.0, b) if same else JudgedDecision(q, s, c, b)
        for q, same, s, c, b in zip(quality.tolist(), alike.tolist(), stable.tolist(), candidate.tolist(), bounds.tolist(), strict=True)
    ]


def first_verdict(judgements: list[JudgedDecision]) -> int | None:
    """Return the number of feedbacks until the trial has a verdict, or None."""
    _, differences, low = betting_terms(judgements)
    found = [log_wealth(side * differences, low, 0.0) >= LOG_WEALTH_BOUND for side in (1.0, -1.0)]
    any_time = np.logical_or(*found)
    return int(any_time.argmax()) + 1 if any_time.any() else None


def naive_alarm(differences: Floats) -> bool:
    """Return whether a test that is valid for one look finds a difference at any look."""
    counts = np.arange(1, len(differences) + 1)
    mean = differences.cumsum() / counts
    deviation = np.sqrt(np.maximum(np.square(differences).cumsum() / counts - mean**2, 1e-12))
    return bool((np.abs(mean) > 1.96 * deviation / np.sqrt(counts))[29:].any())


def main() -> None:
    parser = argparse.ArgumentParser(description="False alarms and power of the sequential test.")
    parser.add_argument("--streams", type=int, default=1000, help="trials in each case")
    parser.add_argument("--feedback", type=int, default=5000, help="judged decisions in each trial")
    options = parser.parse_args()
    for name, case in CASES.items():
        streams = [stream(seed, options.feedback, **case) for seed in range(options.streams)]
        moments = [moment for judgements in streams if (moment := first_verdict(judgements)) is not None]
        naive = [naive_alarm(betting_terms(judgements)[1]) for judgements in streams]
        found = {"alarms": len(moments) / len(streams), "naive": float(np.mean(naive))}
        median = float(np.median(moments)) if len(moments) > len(streams) / 2 else None
        print(json.dumps({"case": name, "streams": options.streams, "feedback": options.feedback, **found, "median_feedback": median}), flush=True)


if __name__ == "__main__":
    main()
