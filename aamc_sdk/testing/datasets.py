"""Checks of dataset formats."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from aamc_sdk.errors import AamcError
from aamc_sdk.testing.findings import require
from aamc_sdk.testing.parts import OPTION_CHECKS
from aamc_sdk.testing.subject import Subject
from aamc_sdk.types import Dataset


def check_what_is_read_is_consistent(subject: Subject) -> None:
    """Without a path, a format reads a consistent dataset or says what it needs."""
    try:
        read = subject.make().read("")
    except AamcError as error:
        require(str(error), "the error has no message")
        return
    for split, dataset in (read if isinstance(read, Mapping) else {"all": read}).items():
        require_consistent(dataset, split)


def require_consistent(dataset: Dataset, split: str = "dataset") -> None:
    """Raise AssertionError unless every part of a dataset has a row a query and lies in its range."""
    require(isinstance(dataset, Dataset), f"read must return aamc_sdk.Dataset, not {type(dataset).__name__}")
    rows = len(dataset)
    require(rows > 0, f"{split} is empty")
    for name in ("complexity", "category", "tool_use"):
        column = getattr(dataset.labels, name)
        require(column is None or np.shape(column) == (rows,), f"{split}: labels.{name} must have a row a query")
    if dataset.outcomes is not None:
        require(dataset.pool is not None, f"{split}: outcomes need the pool that they belong to")
        shape = (rows, len(dataset.pool or ()))
        for name in ("known_quality", "cost_usd", "latency_ms"):
            found = np.shape(getattr(dataset.outcomes, name))
            require(found == shape, f"{split}: outcomes.{name} must be {shape}, not {found}")
        quality = dataset.outcomes.known_quality
        known = quality[~np.isnan(quality)]
        require(((known >= 0) & (known <= 1)).all(), f"{split}: quality must lie in 0 to 1")


def check_bad_paths_are_refused(subject: Subject) -> None:
    """A path that does not exist, and a file of noise, are one-line AamcErrors."""
    with tempfile.TemporaryDirectory() as folder:
        noise = Path(folder) / "noise"
        noise.write_bytes(bytes(range(256)))
        for path in (Path(folder) / "missing", noise):
            try:
                subject.make().read(str(path))
            except AamcError as error:
                require("\n" not in str(error), "the error must be one line")
            else:
                raise AssertionError(f"reading a path that is {path.name} must raise DataError")


CHECKS = (*OPTION_CHECKS, check_what_is_read_is_consistent, check_bad_paths_are_refused)
