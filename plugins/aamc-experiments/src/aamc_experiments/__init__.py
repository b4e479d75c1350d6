"""Experiments: train routers, estimators and orchestrators, compare them, and evaluate them on logs.

In reading order:

- ``settings``, ``run_folder``: the settings of an experiment, and the folder that keeps it
- ``data``: reading datasets, splits, near-duplicates, fingerprints of training rows
- ``typical_outcomes``, ``leak_guard``, ``setup``: the mean outcomes of candidates, the rows to test on, data with environment and reward
- ``experiment``, ``out_of_fold``, ``orchestrator_training``, ``profile``: the training order
- ``measurement``, ``evaluation``: comparisons, metrics with intervals, the promotion gate
- ``off_policy``: estimates from decision logs
- ``target_preferences``: the preference that meets a target
- ``commands``: ``aamc run``, ``train``, ``evaluate`` and ``calibrate``
"""

from importlib import import_module
from typing import Any

_MODULES = {
    "EvaluationRequest": "measurement",
    "Experiment": "experiment",
    "ExperimentSetup": "setup",
    "Goal": "run_folder",
    "Measurement": "measurement",
    "RunFolder": "run_folder",
    "Settings": "settings",
    "Target": "target_preferences",
    "calibrate": "target_preferences",
    "evaluate_run": "measurement",
    "make_setup": "setup",
    "read_settings": "settings",
}

__all__ = [
    "EvaluationRequest",
    "Experiment",
    "ExperimentSetup",
    "Goal",
    "Measurement",
    "RunFolder",
    "Settings",
    "Target",
    "calibrate",
    "evaluate_run",
    "make_setup",
    "read_settings",
]


def __getattr__(name: str) -> Any:
    """Import an exported name when it is first used, so that announcing the commands imports nothing slow."""
    if name not in _MODULES:
        raise AttributeError(f"module 'aamc_experiments' has no attribute {name!r}")
    return getattr(import_module(f"aamc_experiments.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
