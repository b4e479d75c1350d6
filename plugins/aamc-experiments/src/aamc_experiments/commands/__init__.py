"""The commands ``run``, ``train``, ``evaluate`` and ``calibrate``."""

from aamc_experiments.commands.options import gather, new_folder

__all__ = [
    "gather",
    "new_folder",
]
