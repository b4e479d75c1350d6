"""The causes of a router's failures, by category and by chosen model.

A failure has a cause where the quality of every candidate is known: on a table, and in a simulator that tells it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import numpy as np
from aamc_experiments.evaluation import HEADLINE, Comparison, Resampling
from numpy.typing import NDArray

from aamc_report.formats import percent
from aamc_report.results import Results
from aamc_report.sections.groups import QueryGroup, group_rows, groups, omission_note
from aamc_report.tables import Column, Table

Rows = NDArray[np.bool_]


@attrs.frozen
class Cause:
    """A cause of failures: its name, and its definition in a sentence."""

    title: str
    meaning: str


IMPOSSIBLE = Cause("None could", "No candidate answers the query well.")
OVERRATED = Cause("Overrated", "Another candidate would have succeeded, and the router expected no more quality of it than of its own choice.")
TRADED = Cause("Traded", "The router expected more quality of one that would have succeeded; cost, latency, chance or a rule spoke for its choice.")
AVOIDABLE = Cause(
    "Avoidable", "Another candidate would have succeeded; the quality that the router expected of it, or of its own choice, is unknown."
)
UNKNOWN = Cause("Failed", "The outcomes of other candidates are unknown: only the chosen one answered.")


def failure_causes(comparison: Comparison, router: int, threshold: float) -> Mapping[Cause, Rows]:
    """Return the queries that a router failed by each cause, ``[Q]``; each failure has one cause.

    Args:
        comparison: The routers' decisions.
        router: The router's position.
        threshold: The minimum quality of a success.

    Returns:
        Only causes that the data can tell apart: ``UNKNOWN`` where the other candidates' quality is not known. ``AVOIDABLE`` stands
        for ``OVERRATED`` and ``TRADED`` where a router does not state the expected quality of its choice and of a candidate that
        would have succeeded.
    """
    failed = ~(comparison.realised(router).known_quality[HEADLINE] >= threshold)
    if comparison.candidate_quality is None:
        return {UNKNOWN: failed}
    succeeds = comparison.candidate_quality >= threshold
    possible = succeeds.any(axis=1)
    causes = {IMPOSSIBLE: failed & ~possible}
    avoidable, expected = failed & possible, comparison.expected_quality[router]
    if np.isnan(expected).all():
        return causes | {AVOIDABLE: avoidable}
    chosen = np.take_along_axis(expected, comparison.chosen[router, HEADLINE][:, None], axis=1)[:, 0]
    rival = np.where(succeeds & np.isfinite(expected), expected, -np.inf).max(axis=1)
    stated = avoidable & np.isfinite(chosen) & np.isfinite(rival)
    causes |= {OVERRATED: stated & (chosen >= rival), TRADED: stated & (chosen < rival)}
    unstated = avoidable & ~stated
    return causes | {AVOIDABLE: unstated} if unstated.any() else causes


def headline_causes(results: Results) -> Mapping[Cause, Rows]:
    """Return :func:`failure_causes` of the headline's router at the run's threshold."""
    return failure_causes(results.decisions, results.position, results.run.settings.evaluation.success_threshold)


def failure_tables(results: Results) -> list[Table]:
    """Return the headline's failures and their causes, by category and by model."""
    causes = headline_causes(results)
    chosen = results.decisions.chosen[results.position, HEADLINE]
    models = [QueryGroup(name, chosen == m) for m, name in enumerate(results.decisions.candidates.tolist()) if (chosen == m).any()]
    subject = f"queries that {results.headline} failed at the preference, with 95% intervals, and the causes."
    return [
        _table(f"Share of each category's {subject}{omission_note(results)}", "Category", groups(results), causes, results.resampling),
        _table(f"Share of each model's {subject} Models that it never chose are left out.", "Model", models, causes, results.resampling),
    ]


def _table(caption: str, first: str, found: Sequence[QueryGroup], causes: Mapping[Cause, Rows], resampling: Resampling) -> Table:
    by_cause = list(causes.values())
    columns, values = [Column("Queries"), Column("Failed", "", "Queries whose quality is below the threshold.")], [np.any(by_cause, axis=0)]
    if len(causes) > 1:
        columns += [Column(cause.title, "", cause.meaning) for cause in causes]
        values += by_cause
    flags = np.column_stack(values)
    return Table(caption, [first], columns, group_rows(found, lambda group: group.shares(flags, resampling), percent))
