"""The router's learned posteriors, and the state of a canary or shadow, for the dashboard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from aamc_bandit.thompson import BetaEvidence, EvidenceKeys, Thompson
    from aamc_bandit.trials import TrialLog

    from aamc_sdk.interfaces import Router, Store
    from aamc_sdk.types import Pool

MAX_GROUPS = 50
"""Categories whose posteriors are shown, those with most evidence."""


def beta_interval(alpha: float, beta: float) -> tuple[float, float]:
    """Return the central 95% interval of a Beta distribution."""
    from scipy.stats import beta as distribution  # type: ignore[import-untyped]  # scipy has no types

    low, high = distribution.ppf((0.025, 0.975), alpha, beta).tolist()
    return low, high


def beta_density(alpha: float, beta: float) -> list[float]:
    """Return a Beta distribution's density at 81 evenly spaced points of [0, 1], as a share of its maximum."""
    x = np.clip(np.linspace(0, 1, 81), 1e-6, 1 - 1e-6)
    logarithm = (alpha - 1) * np.log(x) + (beta - 1) * np.log1p(-x)
    return [round(float(value), 4) for value in np.exp(logarithm - logarithm.max())]


def routers_of(router: Router, name: str) -> list[tuple[str, str, Router]]:
    """Return a router with its name, or both routers of a canary or shadow with theirs, each after its role."""
    paired = getattr(router, "paired", None)
    if not paired:
        return [("", name, router)]
    return [(role, each.name, each.router) for role, each in zip(("stable", "candidate"), paired, strict=False)]


def posteriors_document(router: Router, name: str, pool: Pool) -> dict[str, Any]:
    """Return the posteriors of a router that has some: Beta distributions of each candidate's quality, in general and by category."""
    found = []
    for role, own_name, each in routers_of(router, name):
        groups = _beta_groups(each, pool)
        if groups:
            found.append({"role": role, "router": own_name, "groups": groups})
    return {"schema": 1, "routers": found}


def _beta_groups(router: Router, pool: Pool) -> list[dict[str, Any]]:
    if getattr(router, "evidence", None) is None:
        return []
    from aamc_bandit.thompson import EvidenceKeys, Thompson

    if not isinstance(router, Thompson):
        return []
    categories = {name: _feedback(router.evidence, "category", name, pool) for name in list(router.evidence.entities("category"))}
    if not categories and not router.evidence.entities("global"):
        return []
    most = sorted(categories, key=lambda name: -sum(categories[name]))[:MAX_GROUPS]
    groups = [("global", "all requests", EvidenceKeys(), _feedback(router.evidence, "global", "", pool))]
    groups += [("category", name, EvidenceKeys(category=name), categories[name]) for name in most]
    return [{"level": level, "name": name, "standings": _standings(router, keys, feedback, pool)} for level, name, keys, feedback in groups]


def _feedback(evidence: BetaEvidence, level: str, name: str, pool: Pool) -> list[int]:
    """Return the amount of feedback on each candidate at an entity; that of the level ``"global"`` has the name ``""``."""
    return [int(number) for number in evidence.table(level, name, pool.names)[:, 2]]


def _standings(router: Thompson, keys: EvidenceKeys, feedback: Sequence[int], pool: Pool) -> list[dict[str, Any]]:
    """Return the candidates' posteriors, the highest mean first; candidates without feedback too."""
    posterior = router.posterior(keys, pool).tolist()
    standings = [
        {
            "candidate": name,
            "alpha": alpha,
            "beta": beta,
            "mean": alpha / (alpha + beta),
            "ci95": beta_interval(alpha, beta),
            "density": beta_density(alpha, beta),
            "feedback": number,
        }
        for name, (alpha, beta), number in zip(pool.names, posterior, feedback, strict=True)
    ]
    return sorted(standings, key=lambda standing: (-standing["mean"], -standing["feedback"]))


class TrialReader:
    """The trials in a log, read on from where the last look ended."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._log: TrialLog | None = None

    def document(self, router: Router) -> dict[str, Any]:
        """Return the state of the canary or shadow that serves, and of the log's earlier ones.

        Without such a router the log is not read, and the list is empty.
        """
        if not getattr(router, "paired", None):
            return {"schema": 1, "serving": None, "trials": []}
        from aamc_bandit.trials import read_trials, trial_document

        if self._log is None or not self._log.read(self._store):
            self._log = read_trials(self._store)
        rows = [trial_document(trial) for trial in self._log.trials]
        share, ended = getattr(router, "share", None), getattr(router, "ended", None)
        return {"schema": 1, "serving": {"kind": type(router).__name__.lower(), "share": share, "ended": ended}, "trials": rows}
