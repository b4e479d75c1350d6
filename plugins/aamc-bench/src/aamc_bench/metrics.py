"""What tables say of a metric: where it is found, how it is written, which way is better."""

from __future__ import annotations

import attrs
from aamc_report.formats import Format, significant


def per_thousand(value: float) -> str:
    """Write USD of a query as USD of 1,000."""
    return significant(3)(1000 * value)


@attrs.frozen
class Metric:
    """A metric of the table.

    Attributes:
        key: Its key among a sample's figures.
        heading: What stands above it.
        format: How it is written.
        best: ``"greatest"`` or ``"least"``; empty where a router is not better for having more or less of it alone.
    """

    key: str
    heading: str
    format: Format
    best: str = "greatest"
