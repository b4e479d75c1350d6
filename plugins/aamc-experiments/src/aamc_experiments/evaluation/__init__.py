"""Evaluation of routers: their decisions on test rows, metrics with intervals, and the promotion gate."""

from aamc_experiments.evaluation.bootstrap import (
    Figures,
    Resampling,
    interval,
    intervals,
    known_interval,
    open_interval,
    point_estimates,
    ratio,
    share_interval,
    two_way,
)
from aamc_experiments.evaluation.comparison import HEADLINE, MEASURE_AGAIN, SWEEP, Comparison, Integers, evaluation_points, lattice, sweep
from aamc_experiments.evaluation.decisions import ComparisonRequest, compare_streams, compare_table, complete_rows, most_missing, question_units
from aamc_experiments.evaluation.formulas.arena_score import arena_score
from aamc_experiments.evaluation.formulas.frontier import aiq, cost_at_quality, hull
from aamc_experiments.evaluation.formulas.length_errors import length_errors
from aamc_experiments.evaluation.formulas.multi_objective import hypervolume, sparsity
from aamc_experiments.evaluation.formulas.reliability import BINS, bin_of, forecast_errors, forecasts
from aamc_experiments.evaluation.formulas.roc import area_under_roc, choice_auc
from aamc_experiments.evaluation.metrics import metrics
from aamc_experiments.evaluation.notes import data_notes, few_queries_note, growing_waits_note, router_notes
from aamc_experiments.evaluation.paired_tests import paired_comparisons
from aamc_experiments.evaluation.promotion import ConstantOutcomes, constant_routers, promotion
from aamc_experiments.evaluation.statistics import CandidateMeans, RealisedOutcomes, References, statistics

__all__ = [
    "BINS",
    "HEADLINE",
    "MEASURE_AGAIN",
    "SWEEP",
    "CandidateMeans",
    "Comparison",
    "ComparisonRequest",
    "ConstantOutcomes",
    "Figures",
    "Integers",
    "RealisedOutcomes",
    "References",
    "Resampling",
    "aiq",
    "area_under_roc",
    "arena_score",
    "bin_of",
    "choice_auc",
    "compare_streams",
    "compare_table",
    "complete_rows",
    "constant_routers",
    "cost_at_quality",
    "data_notes",
    "evaluation_points",
    "few_queries_note",
    "forecast_errors",
    "forecasts",
    "growing_waits_note",
    "hull",
    "hypervolume",
    "interval",
    "intervals",
    "known_interval",
    "lattice",
    "length_errors",
    "metrics",
    "most_missing",
    "open_interval",
    "paired_comparisons",
    "point_estimates",
    "promotion",
    "question_units",
    "ratio",
    "router_notes",
    "share_interval",
    "sparsity",
    "statistics",
    "sweep",
    "two_way",
]
