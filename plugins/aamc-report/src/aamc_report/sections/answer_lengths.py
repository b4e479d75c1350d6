"""The errors of the expected lengths of answers, and of the costs and latencies that follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aamc_report.formats import Format, milliseconds, per_thousand, whole
from aamc_report.results import Results, bounds, entry_errors, number
from aamc_report.tables import Cell, Column, Table, TableRow

COLUMNS = (
    Column("Answers", "", "Number of test rows with a known length."),
    Column("Length", "tokens", "Mean length of the answers."),
    Column("Expected", "tokens", "Mean expected length."),
    Column("Error", "tokens", "Mean absolute error of the expected length."),
    Column("Error of the mean", "tokens", "Mean absolute error of the candidate's mean length."),
    Column("Cost error", "USD / 1,000", "Mean absolute error of the expected cost, for 1,000 answers."),
    Column("Latency error", "ms", "Mean absolute error of the expected latency."),
)


def length_tables(results: Results) -> list[Table]:
    """Return a row for each candidate with known lengths; nothing if the run has none.

    Raises:
        CheckpointError: The figures are damaged.
    """
    found: Mapping[str, Mapping[str, Any]] = results.data.get("answer_lengths") or {}
    caption = "Expected and real length of the answers, by model. In small type: 95% intervals."
    with entry_errors("answer_lengths"):
        return [Table(caption, ["Model"], COLUMNS, [_row(name, figures) for name, figures in found.items()])] if found else []


def _row(name: str, figures: Mapping[str, Any]) -> TableRow:
    def cell(key: str, write: Format) -> Cell:
        return Cell(number(figures.get(key)), write, bounds(figures.get(f"{key}_ci95")))

    lengths = [cell(key, whole) for key in ("n", "mean_tokens", "expected_tokens", "mae_tokens", "mae_tokens_of_mean")]
    return TableRow([name], [*lengths, cell("mae_cost_usd", per_thousand), cell("mae_latency_ms", milliseconds)])
