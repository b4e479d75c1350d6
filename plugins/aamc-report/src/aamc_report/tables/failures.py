"""Why queries fail, by category and by the model that was chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from aamc_report.analysis.causes import Cause, Rows, failure_causes
from aamc_report.analysis.destinations import Group, groups
from aamc_report.cells import Cell, Column, Row, Table, count, share, with_interval
from aamc_report.data import Results
from aamc_report.formats import percent
from aamc_report.tables.breakdown import cut_note
from aamc_sdk.evaluation.bootstrap import Resampling, interval
from aamc_sdk.evaluation.preferences import HEADLINE


def failure_tables(results: Results) -> list[Table]:
    """Return the headline's failures by category and by model, each with its causes."""
    causes = failure_causes(results.decisions, results.position, results.run.settings.evaluation.success_threshold)
    chosen = results.decisions.chosen[results.position, HEADLINE]
    models = [Group(name, chosen == m) for m, name in enumerate(results.decisions.candidates.tolist()) if (chosen == m).any()]
    what = f"queries that {results.headline} failed at the preference, with 95% intervals, and why."
    return [
        _table(f"Share of each category's {what}{cut_note(results)}", "Category", groups(results), causes, results.resampling),
        _table(f"Share of each model's {what} Models that it never chose are left out.", "Model", models, causes, results.resampling),
    ]


def _table(caption: str, first: str, found: Sequence[Group], causes: Mapping[Cause, Rows], resampling: Resampling) -> Table:
    columns = [Column("Queries"), Column("Failed", "", "Queries whose quality stays below the threshold.")]
    if len(causes) > 1:
        columns += [Column(cause.title, "", cause.meaning) for cause in causes]
    rows = [Row(group.name, _cells(group, causes, resampling)) for group in found]
    return Table(caption, first, columns, rows)


def _cells(group: Group, causes: Mapping[Cause, Rows], resampling: Resampling) -> list[Cell]:
    failed = np.any(list(causes.values()), axis=0) & group.rows
    apart = [share(_rate(rows & group.rows, group)) for rows in causes.values()] if len(causes) > 1 else []
    return [count(group.size), with_interval(_rate(failed, group), _spread(failed, group, resampling), percent), *apart]


def _rate(rows: Rows, group: Group) -> float:
    return rows.sum() / group.size if group.size else math.nan


def _spread(failed: Rows, group: Group, resampling: Resampling) -> tuple[float, float]:
    """Return the interval of a failure rate: none where all or none failed, or where resamples miss the group."""
    failures, sizes = resampling.means(np.column_stack((failed, group.rows)).astype(np.float64)).T
    if (sizes == 0).any() or failed.sum() in (0, group.size):  # what never happened, no resample shows
        return math.nan, math.nan
    low, high = interval(failures / sizes)
    return low, high
