"""The decisions of a comparison: all routers decide all queries at all preferences; ``decisions.npz`` keeps the record."""

from aamc_experiments.evaluation.decisions.comparison import MEASURE_AGAIN, Comparison, Integers, Names
from aamc_experiments.evaluation.decisions.preferences import (
    HEADLINE,
    LATTICE,
    QUALITY_ALONE,
    SWEEP,
    evaluation_points,
    from_quality_to_cost,
    latency_counts,
    lattice,
    sweep,
)
from aamc_experiments.evaluation.decisions.request import ComparisonRequest
from aamc_experiments.evaluation.decisions.streams import compare_streams
from aamc_experiments.evaluation.decisions.table import compare_table, question_units

__all__ = [
    "HEADLINE",
    "LATTICE",
    "MEASURE_AGAIN",
    "QUALITY_ALONE",
    "SWEEP",
    "Comparison",
    "ComparisonRequest",
    "Integers",
    "Names",
    "compare_streams",
    "compare_table",
    "evaluation_points",
    "from_quality_to_cost",
    "latency_counts",
    "lattice",
    "question_units",
    "sweep",
]
