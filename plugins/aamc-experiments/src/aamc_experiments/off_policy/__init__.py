"""Off-policy evaluation: the results that a router would have had on logged decisions, estimated from the log."""

from aamc_experiments.off_policy.betting import LOG_WEALTH_BOUND, log_wealth, lower_bound_at_any_time, mean_interval, student_quantile
from aamc_experiments.off_policy.bounded_outcomes import BoundedOutcome, bounded_outcomes
from aamc_experiments.off_policy.log_evaluation import evaluate_log
from aamc_experiments.off_policy.outcome_columns import OUTCOME_COLUMNS, LoggedColumns, read_outcome_columns
from aamc_experiments.off_policy.overlap import Choices, refusal
from aamc_experiments.off_policy.value_estimates import estimate

__all__ = [
    "LOG_WEALTH_BOUND",
    "OUTCOME_COLUMNS",
    "BoundedOutcome",
    "Choices",
    "LoggedColumns",
    "bounded_outcomes",
    "estimate",
    "evaluate_log",
    "log_wealth",
    "lower_bound_at_any_time",
    "mean_interval",
    "read_outcome_columns",
    "refusal",
    "student_quantile",
]
