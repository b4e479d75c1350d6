"""Trials of a new router on live traffic: canary, shadow, and the statistics that compare the two routers."""

from typing import TYPE_CHECKING

from aamc_sdk.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from aamc_bandit.trials.trial_log import TrialLog, read_trials
    from aamc_bandit.trials.trial_statistics import Trial, trial_document

__all__ = ["Trial", "TrialLog", "read_trials", "trial_document"]
__getattr__, __dir__ = lazy_exports(__name__, __all__, ("trial_statistics", "trial_log"))
