"""Checks of dataset formats."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from aamc_sdk.errors import AamcError, DataError
from aamc_sdk.testing.checks.components import OPTION_CHECKS
from aamc_sdk.testing.findings import checks_in, may_refuse, must_raise, require, require_type
from aamc_sdk.testing.subject import Subject, changed
from aamc_sdk.types import Dataset, check_dataset, normalized_text

_SPLITS = ("train", "validation", "test")


def check_what_is_read_is_consistent(subject: Subject) -> None:
    """Without a path, a format reads a consistent dataset, or raises an AamcError with a message."""
    with may_refuse("check what it reads with aamc_sdk.testing.require_consistent, since without a path it reads nothing"):
        read = subject.make().read("")
    splits = read if isinstance(read, Mapping) else {"all": read}
    unknown = sorted(set(read) - set(_SPLITS)) if isinstance(read, Mapping) else []
    require(not unknown, f"the splits of a dataset are {', '.join(_SPLITS)}, not {', '.join(map(repr, unknown))}")
    asked: dict[str, str] = {}
    for split, dataset in splits.items():
        require_type(dataset, Dataset, "read must return aamc_sdk.Dataset" + (f" for split {split!r}" if isinstance(read, Mapping) else ""))
        require_consistent(dataset, split)
        for text in (normalized_text(query.text) for query in dataset.queries):
            other = asked.setdefault(text, split)
            require(other == split, f"splits {other!r} and {split!r} share the question {text!r:.60}, so the test is not of unseen questions")


def check_reading_twice_gives_the_same(subject: Subject) -> None:
    """The same seed gives the same queries and outcomes."""
    with may_refuse("without a path it reads nothing"):
        first, second = subject.make().read(""), subject.make().read("")
    if not isinstance(first, Mapping):
        first, second = {"all": first}, {"all": second}
    require(first.keys() == second.keys(), f"two reads with the same seed have other splits: {', '.join(first)}, and {', '.join(second)}")
    for before, after in ((first[name], second[name]) for name in first):
        found = [*changed(before.queries, after.queries, "queries"), *changed(before.outcomes, after.outcomes, "outcomes")]
        require(not found, f"two reads with the same seed differ in {', '.join(found)}: draw from services.seed only")


def require_consistent(dataset: Dataset, split: str = "dataset") -> None:
    """Raise AssertionError unless a dataset has rows, and each of its arrays one row a query and values in its range."""
    require_type(dataset, Dataset, "read must return aamc_sdk.Dataset")
    require(len(dataset) > 0, f"{split} is empty")
    try:
        check_dataset(dataset, split)
    except DataError as error:
        raise AssertionError(str(error)) from error


def check_bad_paths_are_refused(subject: Subject) -> None:
    """A missing path and a file of random bytes raise an AamcError of one line."""
    with tempfile.TemporaryDirectory() as folder:
        noise = Path(folder) / "noise"
        noise.write_bytes(bytes(range(256)))
        for what, path in (("missing path", Path(folder) / "missing"), ("file of random bytes", noise)):
            error = must_raise(AamcError, partial(subject.make().read, str(path)), f"reading a {what}")
            require("\n" not in str(error), "the error must be one line")


CHECKS = (*OPTION_CHECKS, *checks_in(__name__))
