"""Checks of dataset formats."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from aamc_sdk.errors import AamcError
from aamc_sdk.testing.components import OPTION_CHECKS
from aamc_sdk.testing.findings import checks_in, require, skip
from aamc_sdk.testing.subject import Subject
from aamc_sdk.types import Dataset


def check_what_is_read_is_consistent(subject: Subject) -> None:
    """Without a path, a format reads a consistent dataset, or raises an AamcError with a message."""
    try:
        read = subject.make().read("")
    except AamcError as error:
        require(str(error), "the error has no message")
        skip(f"without a path it reads nothing ({error}); check what it reads with aamc_sdk.testing.require_consistent")
    for split, dataset in (read if isinstance(read, Mapping) else {"all": read}).items():
        require_consistent(dataset, split)


def require_consistent(dataset: Dataset, split: str = "dataset") -> None:
    """Raise AssertionError unless each array of a dataset has one row a query and values in its range."""
    require(isinstance(dataset, Dataset), f"read must return aamc_sdk.Dataset, not {type(dataset).__name__}")
    rows = len(dataset)
    require(rows > 0, f"{split} is empty")
    for name in ("complexity", "category", "tool_use"):
        column = getattr(dataset.labels, name)
        require(column is None or np.shape(column) == (rows,), f"{split}: labels.{name} must have one row a query")
    if dataset.outcomes is not None:
        require(dataset.pool is not None, f"{split}: outcomes need a pool")
        shape = (rows, len(dataset.pool or ()))
        for name in ("known_quality", "cost_usd", "latency_ms"):
            found = np.shape(getattr(dataset.outcomes, name))
            require(found == shape, f"{split}: outcomes.{name} must be {shape}, not {found}")
        quality = dataset.outcomes.known_quality
        known = quality[~np.isnan(quality)]
        require(((known >= 0) & (known <= 1)).all(), f"{split}: quality must lie in 0 to 1")


def check_bad_paths_are_refused(subject: Subject) -> None:
    """A missing path and a file of random bytes raise an AamcError of one line."""
    with tempfile.TemporaryDirectory() as folder:
        noise = Path(folder) / "noise"
        noise.write_bytes(bytes(range(256)))
        for path in (Path(folder) / "missing", noise):
            try:
                subject.make().read(str(path))
            except AamcError as error:
                require("\n" not in str(error), "the error must be one line")
            else:
                raise AssertionError(f"reading a {'missing path' if path.name == 'missing' else 'file of random bytes'} must raise DataError")


CHECKS = (*OPTION_CHECKS, *checks_in(__name__))
