"""Off-policy evaluation: what a router would have earned on logged decisions."""

from aamc_experiments.off_policy.betting import ENOUGH, interval, log_wealth, lower_bound_at_any_time
from aamc_experiments.off_policy.estimators import Choices, estimate, refusal
from aamc_experiments.off_policy.evaluation import measure_log
from aamc_experiments.off_policy.figures import Figure, figures_of
from aamc_experiments.off_policy.logged import stretches

__all__ = [
    "ENOUGH",
    "Choices",
    "Figure",
    "estimate",
    "figures_of",
    "interval",
    "log_wealth",
    "lower_bound_at_any_time",
    "measure_log",
    "refusal",
    "stretches",
]
