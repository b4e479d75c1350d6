"""Expected and realised quality, bin by bin."""

from __future__ import annotations

from aamc_experiments.evaluation import BINS

from aamc_report.analysis.reliability import Reliability, reliabilities
from aamc_report.cells import Cell, Column, Row, Table, count, with_interval
from aamc_report.data import Results
from aamc_report.formats import fixed

COLUMNS = (
    Column("Forecasts", "", "How many expected qualities lie in the bin."),
    Column("Expected", "mean", "Their mean."),
    Column("Realised", "mean", "The mean quality that came."),
    Column("Gap", "", "Realised minus expected: below 0 the router expects too much."),
)


def reliability_tables(results: Results) -> list[Table]:
    """Return the bins of the headline's forecasts; nothing where it expects nothing."""
    found = next((bins for routers, bins in reliabilities(results).items() if results.headline in routers), None)
    if found is None:
        return []
    rows = [_row(found, place) for place in range(BINS) if found.counts[place]]
    caption = f"The quality that {results.headline} expected and the quality that came, in bins of equal width. In small type: 95% intervals."
    return [Table(caption, "Expected quality", COLUMNS, rows)]


def _row(bins: Reliability, place: int) -> Row:
    write = fixed(3)
    expected, realised = float(bins.expected[place]), float(bins.realised[place])
    low, high = bins.interval[:, place].tolist()
    means = [Cell(expected, write(expected)), with_interval(realised, (low, high), write), Cell(realised - expected, write(realised - expected))]
    return Row(f"{place / BINS:.2f} to {(place + 1) / BINS:.2f}", [count(int(bins.counts[place])), *means])
