"""Experiments: train routers, estimators and orchestrators, compare them, and evaluate them on logs.

In reading order:

- ``settings``, ``run_folder``: the settings of an experiment, and the folder that keeps it
- ``data``: reading datasets, splits, near-duplicates, fingerprints of training rows
- ``typical_outcomes``, ``leak_guard``, ``setup``: the mean outcomes of candidates, the rows to test on, data with environment and reward
- ``training``: the training order, orchestrators, out-of-fold expectations, time profiles
- ``measurement``, ``evaluation``, ``personal_evaluation``: comparisons, metrics with intervals, the promotion gate, comparisons of users
- ``estimator_evaluation``: the score of an estimator on labels and outcomes
- ``off_policy``: estimates from decision logs
- ``target_preferences``: the preference that meets a target
- ``commands``: ``aamc run``, ``train``, ``evaluate`` and ``calibrate``
"""

from aamc_sdk.lazy_exports import lazy_exports

__all__ = [
    "EvaluationRequest",
    "Experiment",
    "RunFolder",
    "evaluate_run",
    "read_settings",
]

__getattr__, __dir__ = lazy_exports(__name__, __all__, ("settings", "run_folder", "measurement", "training"))
