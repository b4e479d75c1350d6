"""Which routers pass the promotion gate, where the run was asked."""

from __future__ import annotations

from aamc_report.cells import Cell, Column, Row, Table, with_interval
from aamc_report.data import Results, Verdict
from aamc_report.formats import fixed, percent

COLUMNS = (
    Column("Passes", "", "Whether each gap that is tested lies above zero with its whole interval."),
    Column("Quality gap", "", "Mean quality minus that of the best constant choice at the router's cost.", "quality_gap"),
    Column("Reward gap", "", "Mean reward minus that of the best single candidate.", "reward_gap"),
    Column("Way to the oracle", "", "Share of the way in reward from the best single candidate to the oracle.", "oracle_share"),
)


def gate_tables(results: Results) -> list[Table]:
    """Return a row for each router that the gate judged; nothing where it was not asked."""
    if results.gate is None:
        return []
    rows = [Row(verdict.router, _cells(verdict), verdict.router == results.headline) for verdict in results.gate.verdicts]
    caption = "The promotion gate: is a router worth having, or would constant choices at the same cost do as well? In small type: 95% intervals."
    return [Table(caption, "Router", COLUMNS, rows)]


def _cells(verdict: Verdict) -> list[Cell]:
    writes = {"quality_gap": fixed(4), "reward_gap": fixed(4), "oracle_share": percent}
    passed = Cell(float(verdict.passed), "yes" if verdict.passed else "no")
    return [passed, *(with_interval(*verdict.figures[key], write) for key, write in writes.items())]
