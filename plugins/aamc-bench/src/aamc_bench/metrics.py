"""What tables say of a metric: where it is found, how it is written, which way is better."""

from __future__ import annotations

import attrs
from aamc_report.formats import significant

from aamc_bench.tables import Column


def per_thousand(value: float) -> str:
    """Write USD of a query as USD of 1,000."""
    return significant(3)(1000 * value)


@attrs.frozen
class Metric(Column):
    """A column of a metric, whose key is that among a sample's figures.

    Attributes:
        best: ``"greatest"`` or ``"least"``; empty where a router is not better for having more or less of it alone.
    """

    best: str = "greatest"
