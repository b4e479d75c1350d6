"""Trainings: the experiment of ``aamc run`` and ``aamc train``, orchestrators, out-of-fold expectations, and time profiles."""

from typing import TYPE_CHECKING

from aamc_sdk.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from aamc_experiments.training.experiment import Experiment
    from aamc_experiments.training.out_of_fold import OutOfFold, split_requests
    from aamc_experiments.training.profile import slowest_functions

__all__ = ["Experiment", "OutOfFold", "slowest_functions", "split_requests"]
__getattr__, __dir__ = lazy_exports(__name__, __all__, ("out_of_fold", "experiment", "profile"))
