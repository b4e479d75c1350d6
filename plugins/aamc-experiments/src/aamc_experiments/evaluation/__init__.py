"""The comparison of routers: on equal terms, with intervals, and from a file that anyone can recompute.

Every router answers the same queries, of a table (:mod:`~aamc_sdk.evaluation.tables`) or in a simulation
(:mod:`~aamc_sdk.evaluation.streams`). What it did is a :class:`~aamc_sdk.evaluation.comparison.Comparison`,
from which :mod:`~aamc_sdk.evaluation.metrics` makes every figure.
"""

from __future__ import annotations

from aamc_sdk.evaluation.comparison import Comparison
from aamc_sdk.evaluation.metrics import metrics
from aamc_sdk.evaluation.streams import compare_streams
from aamc_sdk.evaluation.tables import compare_table

__all__ = ["Comparison", "compare_streams", "compare_table", "metrics"]
