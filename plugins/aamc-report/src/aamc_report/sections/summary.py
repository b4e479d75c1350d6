"""What a page says first: how the router in question did, and what it is beside asking one model for everything."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aamc_report.data import Results
from aamc_report.formats import listed, percent
from aamc_sdk.batch import Floats
from aamc_sdk.evaluation.bootstrap import Resampling, known_interval
from aamc_sdk.evaluation.preferences import HEADLINE

RIVALS = ("llm-only", "best-single")
"""The strongest model alone flatters whoever saves; what must be beaten is the best single one."""


def summary(results: Results) -> str:
    """Return some sentences on the headline: its success, its differences to each rival, and what the promotion gate says.

    Nothing where neither a rival nor the gate is there to compare it with.
    """
    candidates = results.decisions.candidates.tolist()
    if len(candidates) == 1:
        return f"There is nothing to choose: {candidates[0]} is the only candidate, and every router gives the queries to it."
    sentences = [_beside(results, rivals) for rivals in _rivals(results)]
    if sentences:
        sentences.append("In brackets: 95% intervals, on the same queries.")
    verdicts = () if results.gate is None else results.gate.verdicts
    passed = {verdict.router: verdict.passed for verdict in verdicts}
    if results.headline in passed:
        sentences.append(f"It {'passes' if passed[results.headline] else 'does not pass'} the promotion gate.")
    success = f"{results.headline} succeeds on {percent(_means(results, results.headline)[0, 0])} of the queries."
    return " ".join((success, *sentences)) if sentences else ""


def _rivals(results: Results) -> list[list[str]]:
    """Return the rivals that were compared; those that asked the same model for everything are one."""
    by_model: dict[str | None, list[str]] = {}
    for rival in RIVALS:
        if rival in results.routers and rival != results.headline:
            by_model.setdefault(results.only_candidate(rival), []).append(rival)
    return list(by_model.values())


def _beside(results: Results, rivals: Sequence[str]) -> str:
    """Return in words how the headline differs from rivals that did the same; cost and latency relative to theirs."""
    ours, theirs = (_means(results, router) for router in (results.headline, rivals[0]))
    changes = np.divide(ours - theirs, theirs, out=np.full(ours.shape, np.nan), where=theirs > 0)
    parts = [f"success {_signed(ours[:, 0] - theirs[:, 0], ' points')}"]
    parts += [f"{noun} {_signed(changes[:, n], '%')}" for n, noun in ((1, "cost"), (2, "latency")) if np.isfinite(changes[0, n])]
    model = results.only_candidate(rivals[0])
    return f"Beside {listed(rivals)}{'' if model is None else f' ({model})'}: {', '.join(parts)}."


def _means(results: Results, router: str) -> Floats:
    """Return mean success, cost and latency at the preference: of the data, then of its B resamples, ``[1 + B, 3]``."""
    outcomes = results.decisions.realised(results.position_of(router))
    success = outcomes.known_quality[HEADLINE] >= results.run.settings.evaluation.success_threshold
    columns = np.column_stack((success, outcomes.cost_usd[HEADLINE], outcomes.latency_ms[HEADLINE]))
    return np.concatenate([each.means(columns) for each in (Resampling.once(results.decisions.stream), results.resampling)])


def _signed(shares: Floats, unit: str) -> str:
    """Return the first of ``[1 + B]`` shares in hundredths, with the interval of its resamples."""
    bounds = known_interval(shares[1:])
    value, *within = (f"{round(100 * share, 1) + 0.0:+.1f}" for share in (shares[0], *(bounds or ())))  # without -0.0
    return f"{value}{unit} ({' to '.join(within)})" if within else f"{value}{unit}"
