"""The commands ``run``, ``train``, ``evaluate`` and ``calibrate``."""

from aamc_experiments.commands.options import new_folder, settings_from_options, split_options

__all__ = [
    "new_folder",
    "settings_from_options",
    "split_options",
]
