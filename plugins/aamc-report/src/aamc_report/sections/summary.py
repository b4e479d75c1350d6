"""The summary of a page: the run's router compared with choosing one model for every query."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from aamc_experiments.evaluation import known_interval, ratio

from aamc_report.formats import listed, percent
from aamc_report.results import Results
from aamc_sdk.types import Floats

RIVALS = ("llm-only", "best-single")
"""Compared with the strongest model any saving looks good; the best single model is the one to beat."""


def summary(results: Results) -> str:
    """Return the headline's success, its differences to each rival, and the promotion gate's result, in sentences.

    Empty if neither a rival nor a gate is known.
    """
    candidates = results.decisions.candidates.tolist()
    if len(candidates) == 1:
        return f"There is nothing to choose: {candidates[0]} is the only candidate, and every router gives the queries to it."
    sentences = [_compared(results, rivals) for rivals in _rivals(results)]
    if sentences:
        sentences.append("In brackets: 95% intervals, on the same queries.")
    passed = {} if results.gate is None else results.gate.passed
    if results.headline in passed:
        sentences.append(f"It {'passes' if passed[results.headline] else 'does not pass'} the promotion gate.")
    success = f"{results.headline} succeeds on {percent(_means(results, results.headline)[0, 0])} of the queries."
    return " ".join((success, *sentences)) if sentences else ""


def _rivals(results: Results) -> list[list[str]]:
    """Return the rivals that were compared; rivals that chose the same model for every query are one."""
    by_model: dict[str | None, list[str]] = {}
    for rival in RIVALS:
        if rival in results.routers and rival != results.headline:
            by_model.setdefault(results.only_candidate(rival), []).append(rival)
    return list(by_model.values())


def _compared(results: Results, rivals: Sequence[str]) -> str:
    """Return the headline's differences to equal rivals as a sentence; cost and latency relative to theirs."""
    ours, theirs = (_means(results, router) for router in (results.headline, rivals[0]))
    changes = ratio(ours - theirs, theirs)
    parts = [f"success {_signed(ours[:, 0] - theirs[:, 0], ' points')}"]
    parts += [f"{noun} {_signed(changes[:, n], '%')}" for n, noun in ((1, "cost"), (2, "latency")) if np.isfinite(changes[0, n])]
    model = results.only_candidate(rivals[0])
    return f"Compared with {listed(rivals)}{'' if model is None else f' ({model})'}: {', '.join(parts)}."


def _means(results: Results, router: str) -> Floats:
    """Return mean success, cost and latency at the preference: on the data, then on its B resamples, ``[1 + B, 3]``."""
    threshold = results.run.settings.evaluation.success_threshold
    return results.resampling.with_data().means(results.decisions.success_cost_latency(results.position_of(router), threshold))


def _signed(shares: Floats, unit: str) -> str:
    """Return the first of ``[1 + B]`` shares in per cent, with the interval of its resamples."""
    ends = known_interval(shares[1:])
    value, *interval = (f"{round(100 * share, 1) + 0.0:+.1f}" for share in (shares[0], *(ends or ())))  # without -0.0
    return f"{value}{unit} ({' to '.join(interval)})" if interval else f"{value}{unit}"
