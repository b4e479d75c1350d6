"""Metrics of several workers. This module imports nothing of prometheus_client, which looks for the folder when it is imported."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable that names the folder in which workers add up their metrics."""


def prepare_workers(folder: Path) -> None:
    """Let several workers add up their metrics in a folder; called in the parent process, before it starts workers and imports ``Metrics``.

    Args:
        folder: A folder on a local disk for the files of this gateway alone; files of earlier runs in it are removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("*.db"):
        file.unlink(missing_ok=True)
    os.environ[FOLDER] = str(folder)
