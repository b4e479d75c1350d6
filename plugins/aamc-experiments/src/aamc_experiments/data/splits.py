"""From settings to the three splits: reading, dividing, and fitting tables to one pool."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_experiments.data.near_duplicates import leaders
from aamc_experiments.settings import Settings, Source
from aamc_sdk.errors import DataError, one_of
from aamc_sdk.interfaces import DatasetFormat
from aamc_sdk.types import Dataset, Pool, question, text_hash, votes

logger = logging.getLogger(__name__)
Readers = Callable[[Source], DatasetFormat]
SPLITS = ("train", "validation", "test")
CROWD = 0.1
"""Share of the rows, the validation split's own, above which one group of near-duplicates makes the shares uneven."""


def read_splits(settings: Settings, readers: Readers) -> dict[str, Dataset]:
    """Read the training, validation and test rows, of which no two share a question or a near-duplicate.

    Without a test dataset of its own the data is divided 70/10/20 by a hash of seed and question, near-duplicates
    together; with one, 90/10 into training and validation, less the questions that it tests.

    Args:
        settings: Names the datasets.
        readers: Makes the reader of a source, with its options.

    Raises:
        DataError: There is nothing to read, or too little to divide.
    """
    test = None if settings.test_dataset is None else read_whole(settings.test_dataset, readers)
    read = _read(settings.dataset, readers)
    groups = Groups.of(test, *([read] if isinstance(read, Dataset) else read.values()))
    splits = _divide(read, groups, settings.seed, whole_test=test is not None)
    if test is not None:
        splits["test"] = test
    splits["validation"] = groups.without(splits["validation"], splits["test"], "validation")
    splits["train"] = groups.without(groups.without(splits["train"], splits["test"], "training"), splits["validation"], "training")
    for name, split in splits.items():
        if not len(split):
            raise DataError(f"the {name} split of {settings.dataset} has no row of its own; give it rows that no later split has")
    return splits


@attrs.frozen(eq=False)
class Groups:
    """Near-duplicate questions of some datasets.

    Attributes:
        leaders: For each question, the first one of its group.
    """

    leaders: Mapping[str, str]

    @classmethod
    def of(cls, *datasets: Dataset | None) -> Groups:
        """Find the groups of all questions of some datasets together."""
        return cls(leaders(question(query) for dataset in datasets if dataset is not None for query in dataset.queries))

    def names(self, dataset: Dataset) -> list[str]:
        """Return what names each row's group, ``[Q]``."""
        return [self.leaders[question(query)] for query in dataset.queries]

    def without(self, split: Dataset, held_out: Dataset, name: str) -> Dataset:
        """Return a split's rows of whose groups another has no row, and say how many were left out."""
        held = set(self.names(held_out)) - {""}  # queries without text, such as a log's, cannot be compared
        rows = np.array([row for row, group in enumerate(self.names(split)) if group not in held], dtype=np.intp)
        if len(rows) == len(split):
            return split
        left_out = len(split) - len(rows)
        logger.warning("%d of %d %s rows are left out: their questions are held out, or near-duplicates of such", left_out, len(split), name)
        return split.take(rows)


def read_whole(source: Source, readers: Readers) -> Dataset:
    """Read a dataset to test on: all of its rows, or its own test split where it has one."""
    read = _read(source, readers)
    return read if isinstance(read, Dataset) else read["test"]


def _read(source: Source, readers: Readers) -> Dataset | dict[str, Dataset]:
    read = readers(source).read(source.path)
    if isinstance(read, Dataset):
        if not len(read):
            raise DataError(f"{source} has no rows")
        return read
    missing = [name for name in SPLITS if name not in read]
    if missing:
        raise DataError(f"{source} lacks the split {one_of(missing)}")
    return dict(read)


def _divide(read: Dataset | dict[str, Dataset], groups: Groups, seed: int, whole_test: bool) -> dict[str, Dataset]:
    if not isinstance(read, Dataset):
        return {name: read[name] for name in SPLITS}
    names = groups.names(read)
    leader, crowd = Counter(names).most_common(1)[0]
    if crowd > max(1, len(names) * CROWD):
        logger.warning("%d of %d rows are near-duplicates that stay on one side, of %r", crowd, len(names), shorten(leader, 80))
    rows = split_rows(names, seed, test=0.0 if whole_test else 0.2)
    return {name: read.take(rows[name]) for name in SPLITS}


def fit_to_pool(dataset: Dataset, pool: Pool) -> Dataset:
    """Return a table of outcomes with its columns in a pool's order, and no other columns.

    Raises:
        DataError: The table lacks a candidate of the pool.
    """
    if dataset.outcomes is None or dataset.pool is None:
        return dataset
    lacking = [name for name in pool.names if name not in dataset.pool.names]
    if lacking:
        raise DataError(f"{dataset.source} has no outcomes for {one_of(lacking)} (it has: {one_of(dataset.pool.names)}); use the same candidates")
    columns = [dataset.pool.index(name) for name in pool.names]
    return attrs.evolve(dataset, pool=pool, outcomes=dataset.outcomes.columns(columns))


def check_same_candidates(test: Dataset, pool: Pool) -> None:
    """Raise where a test table has a candidate that training has not.

    Raises:
        DataError: Names the candidates.
    """
    strangers = [] if test.pool is None else [name for name in test.pool.names if name not in pool.names]
    if strangers:
        raise DataError(f"{test.source} has outcomes of {one_of(strangers)}, which the training data has not; leave them out, or add them there")


HASHED = {"sha256": "questions", "outcomes_sha256": "outcomes", "comparisons_sha256": "comparisons"}
"""What each hash in :func:`about_split` is of."""


def about_split(dataset: Dataset) -> dict[str, Any]:
    """Return what ``run.yaml`` says of a split: its size, and hashes of its questions and of its outcomes, or else of its comparisons."""
    about = {"queries": len(dataset), "sha256": split_hash(dataset)}
    if dataset.only_compared and dataset.experience is not None:
        told = [(text_hash(vote.query.text), *vote[1:]) for vote in votes(dataset.experience)]
        return about | {"comparisons_sha256": hashlib.sha256(repr(told).encode()).hexdigest()}
    if dataset.outcomes is None or dataset.pool is None:
        return about
    digest = hashlib.sha256("/".join(dataset.pool.names).encode())
    for values in (dataset.outcomes.known_quality, dataset.outcomes.cost_usd, dataset.outcomes.latency_ms):
        digest.update(np.round(values.astype(np.float64), 9).tobytes())  # machines differ in the last digits
    return about | {"outcomes_sha256": digest.hexdigest()}


def check_unchanged(splits: Mapping[str, Dataset], before: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """Raise where rows are not what they were when a run began; what they do not have now is not compared.

    Args:
        splits: Some of the run's splits, as they are now.
        before: What its ``run.yaml`` says of each.
        folder: The run's.

    Raises:
        DataError: Names the split and what changed.
    """
    for name, split in splits.items():
        now = about_split(split)
        changed = [what for key, what in HASHED.items() if key in now and now[key] != before[name].get(key)]
        if changed:
            what = f"the data of {folder} is not what it was when the run began: its {name} rows have other {' and '.join(changed)}"
            raise DataError(f"{what}; begin another run, or try this one's routers on the new rows with aamc evaluate --dataset")


def split_hash(dataset: Dataset) -> str:
    """Return the SHA-256 that names a split: of its questions, in order."""
    return hashlib.sha256("".join(text_hash(query.text) for query in dataset.queries).encode()).hexdigest()


def split_rows(groups: Sequence[str], seed: int, validation: float = 0.1, test: float = 0.2) -> dict[str, NDArray[np.intp]]:
    """Divide rows into train, validation and test by a hash of the seed and each row's group.

    A group goes to the same side wherever its rows stand, so no two sides share one. A side
    whose share is 0 gets no rows.

    Args:
        groups: What names each row's group, such as the leader of its near-duplicates, ``[Q]``.
        seed: Another one divides otherwise.
        validation: The share of the validation side.
        test: The share of the test side.

    Raises:
        DataError: A side is left without a row.
    """
    digests = [hashlib.sha256(f"{seed}/{group}".encode(errors="surrogatepass")).digest()[:8] for group in groups]
    place = np.array([int.from_bytes(digest, "big") for digest in digests], dtype=np.float64) / 2.0**64
    sides = {"train": place >= test + validation, "validation": (place >= test) & (place < test + validation), "test": place < test}
    shares = {"train": 1.0, "validation": validation, "test": test}
    for name, rows in sides.items():
        if shares[name] > 0 and not rows.any():
            given = f"{len(place)} rows with {len(set(digests))} different questions, near-duplicates counted once,"
            advice = "give more, or name a --test-dataset" if test else "give more"
            raise DataError(f"the {name} split is empty: {given} are too few to divide; {advice}")
    return {name: np.flatnonzero(rows) for name, rows in sides.items()}
