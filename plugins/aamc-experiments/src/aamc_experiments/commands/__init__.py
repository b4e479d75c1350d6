"""The commands ``run``, ``train``, ``evaluate`` and ``calibrate``."""

from aamc_experiments.commands.options import ExperimentOptions, new_folder, settings_from_options

__all__ = [
    "ExperimentOptions",
    "new_folder",
    "settings_from_options",
]
