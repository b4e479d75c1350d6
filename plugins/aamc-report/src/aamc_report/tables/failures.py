"""Why queries fail, by category and by the model that was chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from aamc_experiments.evaluation import HEADLINE, Resampling

from aamc_report.analysis.causes import Cause, Rows, failure_causes
from aamc_report.analysis.destinations import Group, groups
from aamc_report.cells import Cell, Column, Row, Table, count, with_interval
from aamc_report.data import Results
from aamc_report.formats import percent
from aamc_report.tables.breakdown import cut_note


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
    apart = list(causes.values())
    failed = [np.any(apart, axis=0), *(apart if len(apart) > 1 else ())]
    rates = group.means(np.column_stack(failed).astype(np.float64), resampling)
    return [count(group.size), *(with_interval(rate, bounds, percent) for rate, bounds in rates)]
