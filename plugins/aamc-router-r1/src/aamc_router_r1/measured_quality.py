"""Measured quality of candidates, for the policy's prompt: from a decision log, by category."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from contextlib import closing

import numpy as np

OVERALL = ""
"""The category of all queries."""


def measured_quality(store: str, given: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Return quality by candidate and category.

    Args:
        store: URL of a decision log whose judged decisions are averaged; ``""`` for none.
        given: Quality that replaces that of the log.
    """
    found = _of_log(store) if store else {}
    for name, by_category in given.items():
        found[name] = {**found.get(name, {}), **by_category}
    return found


def overall(quality: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return each candidate's quality over all queries; the mean of its categories where that is not known."""
    return {name: by_category.get(OVERALL, sum(by_category.values()) / len(by_category)) for name, by_category in quality.items() if by_category}


def _of_log(url: str) -> dict[str, dict[str, float]]:
    """Return the mean quality of each candidate's judged decisions, over all and by the most probable category."""
    from aamc_sdk.log import open_store
    from aamc_sdk.plugins import get_plugin_manager

    with closing(open_store(url, get_plugin_manager(), existing=True)) as store:
        logged = store.outcomes(columns=("categories",))
    names = logged.category_names
    sums: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for row in np.flatnonzero(logged.judged).tolist():
        candidate, quality = logged.candidates[row], float(logged.quality[row])
        sums[candidate, OVERALL].append(quality)
        if names and not np.isnan(logged["categories"][row]).all():
            sums[candidate, names[int(np.nanargmax(logged["categories"][row]))]].append(quality)
    found: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for (candidate, category), qualities in sums.items():
        found[candidate][category] = float(np.mean(qualities))
    return dict(found)
