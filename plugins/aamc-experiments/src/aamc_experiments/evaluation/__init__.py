"""Comparing routers on a test set: metrics, frontiers and intervals."""

from aamc_experiments.evaluation.bootstrap import Figures, Resampling, interval, known_interval, open_interval
from aamc_experiments.evaluation.comparison import Comparison, Integers
from aamc_experiments.evaluation.constants import Constants, constant_routers
from aamc_experiments.evaluation.frontier import hull
from aamc_experiments.evaluation.metrics import metrics
from aamc_experiments.evaluation.multi_objective import hypervolume
from aamc_experiments.evaluation.paired import holm, randomisation_test
from aamc_experiments.evaluation.preferences import HEADLINE, SWEEP, evaluation_points, lattice, sweep
from aamc_experiments.evaluation.promotion import promotion
from aamc_experiments.evaluation.realised import Candidates, Realised
from aamc_experiments.evaluation.reliability import BINS, bin_of, forecasts
from aamc_experiments.evaluation.statistics import Yardsticks, statistics
from aamc_experiments.evaluation.streams import compare_streams
from aamc_experiments.evaluation.tables import compare_table

__all__ = [
    "BINS",
    "HEADLINE",
    "SWEEP",
    "Candidates",
    "Comparison",
    "Constants",
    "Figures",
    "Integers",
    "Realised",
    "Resampling",
    "Yardsticks",
    "bin_of",
    "compare_streams",
    "compare_table",
    "constant_routers",
    "evaluation_points",
    "forecasts",
    "holm",
    "hull",
    "hypervolume",
    "interval",
    "known_interval",
    "lattice",
    "metrics",
    "open_interval",
    "promotion",
    "randomisation_test",
    "statistics",
    "sweep",
]
