"""The three splits of a dataset: reading and dividing them, and fitting their tables to a pool."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from textwrap import shorten
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_experiments.data.near_duplicates import group_names
from aamc_experiments.settings import Settings, Source
from aamc_experiments.typical_outcomes import votes
from aamc_sdk.errors import DataError, PluginError
from aamc_sdk.interfaces import DatasetFormat
from aamc_sdk.messages import component_errors, one_of, quantity
from aamc_sdk.types import Dataset, Pool, check_dataset, normalized_text, text_hash

logger = logging.getLogger(__name__)
Readers = Callable[[Source], DatasetFormat]
"""Makes the reader of a source, with the source's options."""
SPLITS = ("train", "validation", "test")
"""The names of the splits."""
VALIDATION_SHARE, TEST_SHARE = 0.1, 0.2
"""Shares of the rows of a dataset that has no splits of its own."""
LARGE_GROUP = 0.1
"""The share of all rows above which one group of near-duplicates makes the sizes of the splits uneven; that of the validation split."""


def read_splits(settings: Settings, readers: Readers) -> dict[str, Dataset]:
    """Read the training, validation and test rows; no question or near-duplicate, or no group of a dataset with groups, is in two of them.

    Test rows with groups may share questions with other groups' training rows; a warning gives their number.

    Without a test dataset, a hash of seed and question divides the rows 70/10/20, near-duplicates together. With one,
    it divides them 90/10 into training and validation, and rows with questions of the test dataset are left out.
    The rows of each split name their groups of near-duplicates, for folds.

    Raises:
        DataError: A dataset or a split has no rows.
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
            raise DataError(f"the {name} split of {settings.dataset.public_name} has no row of its own; give it rows that no later split has")
    groups.warn_of_shared_questions(splits["test"], splits["train"])
    return {name: groups.numbered(split) for name, split in splits.items()}


@attrs.frozen(eq=False)
class Groups:
    """Groups of near-duplicate questions.

    Attributes:
        by_question: The name of each question's group.
    """

    by_question: Mapping[str, str]

    @classmethod
    def of(cls, *datasets: Dataset | None) -> Groups:
        """Group the questions of all datasets together; a dataset with groups of its own keeps these, too."""
        given = [dataset for dataset in datasets if dataset is not None]
        own = {name: name for dataset in given for name in map(group_name, set(dataset.groups or ()) - {""})}
        return cls(own | group_names(normalized_text(query.text) for dataset in given for query in dataset.queries))

    def names(self, dataset: Dataset) -> list[str]:
        """Return the name of each row's group, ``[Q]``."""
        return [self.by_question[name] for name in row_names(dataset)]

    def numbered(self, dataset: Dataset) -> Dataset:
        """Return a dataset with the number of each row's group of near-duplicates; users' comparisons, of which no fold is made, as they are."""
        if dataset.groups is not None and dataset.outcomes is None:
            return dataset
        names = self.names(attrs.evolve(dataset, groups=None))
        numbers: dict[str, int] = {}
        return attrs.evolve(dataset, question_groups=np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.intp))

    def without(self, split: Dataset, held_out: Dataset, name: str) -> Dataset:
        """Return the rows of a split whose groups, or questions if those have no groups, have no held-out row; warn of the others."""
        held, compared = set(self.names(held_out)) - {""}, split if held_out.groups else attrs.evolve(split, groups=None)
        rows = np.array([row for row, group in enumerate(self.names(compared)) if group not in held], dtype=np.intp)
        if len(rows) == len(split):
            return split
        left_out = len(split) - len(rows)
        logger.warning("%d of %s left out: held-out questions or near-duplicates of them", left_out, quantity(len(split), f"{name} row"))
        return split.take(rows)

    def warn_of_shared_questions(self, test: Dataset, train: Dataset) -> None:
        """Warn of test rows with groups, such as users, whose questions or near-duplicates of them other groups asked in training."""
        if test.groups is None:
            return
        trained = set(self.names(attrs.evolve(train, groups=None))) - {""}
        if shared := sum(name in trained for name in self.names(attrs.evolve(test, groups=None))):
            what = "have questions, or near-duplicates of questions, that other users asked in training"
            logger.warning("%d of %s %s: results on them do not carry over to new questions", shared, quantity(len(test), "test row"), what)


def row_names(dataset: Dataset) -> list[str]:
    """Return the name of each row, ``[Q]``: its question, or a hash of its group. Rows of one name stay in one split."""
    groups = dataset.groups or [""] * len(dataset)
    names = {group: group_name(group) for group in set(groups)}
    return [names[group] if group else normalized_text(query.text) for group, query in zip(groups, dataset.queries, strict=True)]


def group_name(group: str) -> str:
    """Return the name of a group's rows, a hash."""
    return text_hash(f"group {group}")


def read_whole(source: Source, readers: Readers) -> Dataset:
    """Read all rows of a test dataset, or its own test split if it has one.

    Raises:
        DataError: It has no rows, or lacks a split.
    """
    read = _read(source, readers)
    return read if isinstance(read, Dataset) else read["test"]


def read_dataset(source: Source, readers: Readers) -> Dataset | Mapping[str, Dataset]:
    """Read a dataset, or the splits that its format gives it, and check every array. One without a source gets the name of what was read.

    Raises:
        DataError: It cannot be read, or an array has the wrong shape or values outside its range.
        PluginError: The format failed, or returned something else.
    """
    with component_errors(f"dataset format {source.name!r} failed", passes=OSError):
        read = readers(source).read(source.path)
    parts = read if isinstance(read, Mapping) else {"": read}
    named = {}
    for split, dataset in parts.items():
        if not isinstance(dataset, Dataset):
            found = type(dataset).__name__ + (f" for split {split!r}" if split else "")
            raise PluginError(f"dataset format {source.name!r} must return aamc_sdk.Dataset, or one for each split, not {found}")
        name = f"{split} of {source.public_name}" if split else source.public_name
        check_dataset(dataset, name)
        named[split] = dataset if dataset.source else attrs.evolve(dataset, source=name)
    return named if isinstance(read, Mapping) else named[""]


def _read(source: Source, readers: Readers) -> Dataset | dict[str, Dataset]:
    read = read_dataset(source, readers)
    if isinstance(read, Dataset):
        if not len(read):
            raise DataError(f"{source.public_name} has no rows")
        return _without_steps({"": read})[""]
    missing = [name for name in SPLITS if name not in read]
    if missing:
        noun = "split" if len(missing) == 1 else "splits"
        raise DataError(f"{source.public_name} lacks the {noun} {', '.join(missing)}; it has {', '.join(map(repr, read)) or 'none'}")
    return _without_steps(read)


def _without_steps(parts: Mapping[str, Dataset]) -> dict[str, Dataset]:
    """Return the rows of a log, or of its splits, without the steps of orchestrators, whose candidates may be agents that no router can choose."""
    kept = {}
    for name, part in parts.items():
        decisions = part.experience.decisions if part.experience is not None and part.rows_are_decisions else ()
        rows = np.flatnonzero([not decision.is_step for decision in decisions])
        kept[name] = part.take(rows) if len(rows) < len(decisions) else part
        if len(part) and not len(kept[name]):
            where = f"{part.source} has only steps of orchestrators" + (f" in its {name} rows" if name else "")
            raise DataError(f"{where}; learn from them with: aamc train --from RUN --dataset log:{part.source}, or serve more requests")
    left_out = sum(len(part) - len(kept[name]) for name, part in parts.items())
    if not left_out:
        return kept
    logger.warning("%s of orchestrators left out: feedback on them judges no candidate", quantity(left_out, "step"))
    offered = {name for part in kept.values() if part.experience for record in part.experience.records for name in record.candidates}
    return {name: _restricted(part, offered) for name, part in kept.items()}


def _restricted(part: Dataset, names: AbstractSet[str]) -> Dataset:
    """Return rows whose pool and table have these candidates alone."""
    assert part.pool is not None  # a log's rows have one
    pool = Pool(candidate for candidate in part.pool if candidate.name in names)
    return attrs.evolve(fit_to_pool(part, pool), pool=pool)


def _divide(read: Dataset | dict[str, Dataset], groups: Groups, seed: int, whole_test: bool) -> dict[str, Dataset]:
    if not isinstance(read, Dataset):
        return {name: read[name] for name in SPLITS}
    names = groups.names(read)
    example, size = (Counter(filter(None, names)).most_common(1) or [("", 0)])[0]
    if read.groups is None and size > max(1, len(names) * LARGE_GROUP):
        logger.warning("%d of %d rows are near-duplicates of %r and stay in one split", size, len(names), shorten(example, 80))
    divide = split_rows if read.groups is None else split_groups
    rows = divide(names, seed, test=0.0 if whole_test else TEST_SHARE)
    return {name: read.take(rows[name]) for name in SPLITS}


def fit_to_pool(dataset: Dataset, pool: Pool) -> Dataset:
    """Return a table of outcomes with the columns of a pool, in the pool's order.

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
    """Check that a test table has no candidate that the training data lacks.

    Raises:
        DataError: It has some.
    """
    unseen = [] if test.pool is None else [name for name in test.pool.names if name not in pool.names]
    if unseen:
        raise DataError(f"{test.source} has outcomes of {one_of(unseen)}, but the training data has none; leave them out, or add them there")


HASHED = {"sha256": "questions", "outcomes_sha256": "outcomes", "comparisons_sha256": "comparisons"}
"""The content of each hash in :func:`about_split`."""


def about_split(dataset: Dataset) -> dict[str, Any]:
    """Return a split's entry in ``run.yaml``: its size, and the hashes of its questions and of its outcomes or comparisons.

    Right answers have a hash too, and so has each field that the dataset's class adds to the rows, such as the models of a task.
    """
    about = {"queries": len(dataset), "sha256": split_hash(dataset)}
    for name in ("references", *dataset.row_fields):
        if (values := getattr(dataset, name)) is not None:
            about[f"{name}_sha256"] = hashlib.sha256(json.dumps(list(values), default=_plain, skipkeys=True).encode()).hexdigest()
    if dataset.only_compared and dataset.experience is not None:
        found = [(text_hash(vote.query.text), *vote[1:]) for vote in votes(dataset.experience)]
        return about | {"comparisons_sha256": hashlib.sha256(repr(found).encode()).hexdigest()}
    if dataset.outcomes is None or dataset.pool is None:
        return about
    digest = hashlib.sha256("/".join(dataset.pool.names).encode())
    for values in (dataset.outcomes.known_quality, dataset.outcomes.cost_usd, dataset.outcomes.latency_ms):
        digest.update(np.round(values.astype(np.float64), 9).tobytes())  # machines differ in the last digits
    return about | {"outcomes_sha256": digest.hexdigest()}


def _plain(value: Any) -> Any:
    """Return a value as one that JSON has; of a value without a known content only the class."""
    if attrs.has(type(value)):
        return {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, AbstractSet):
        return sorted(value, key=repr)
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else type(value).__qualname__


def check_unchanged(splits: Mapping[str, Dataset], before: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """Check that rows have the hashes that a run recorded; a hash that they have no content for is not compared.

    Nor are hashes of right answers and of a class's own fields where the run has none: earlier versions did not record them.

    Args:
        splits: Some splits of the run, as they are now.
        before: The entries of all splits in its ``run.yaml``.
        folder: The run's folder.

    Raises:
        DataError: The questions, outcomes, comparisons, right answers or further fields of a split changed.
    """
    for name, split in splits.items():
        now, then = about_split(split), before.get(name)
        if not isinstance(then, Mapping):
            raise DataError(f"{folder / 'run.yaml'} is damaged: 'splits' does not describe the {name} rows; restore the file, or train again")
        added = {"references_sha256": "right answers", **{f"{field}_sha256": field for field in split.row_fields}}
        changed = [content for key, content in HASHED.items() if key in now and now[key] != then.get(key)]
        changed += [content for key, content in added.items() if key in now and then.get(key) not in (None, now[key])]
        if changed:
            why = f"the data of {folder} is not what it was when the run began: its {name} rows have other {' and '.join(changed)}"
            raise DataError(f"{why}; begin another run, or try this one's routers on the new rows with aamc evaluate --dataset")


def split_hash(dataset: Dataset) -> str:
    """Return the SHA-256 of a split's questions, in order."""
    return hashlib.sha256("".join(text_hash(query.text) for query in dataset.queries).encode()).hexdigest()


def split_rows(groups: Sequence[str], seed: int, test: float = TEST_SHARE) -> dict[str, NDArray[np.intp]]:
    """Divide rows into train, validation and test by a hash of the seed and each row's group.

    All rows of a group go to the same split, independent of their order; a row without text is divided by its position.
    A split whose share is 0 gets no rows.

    Args:
        groups: The name of each row's group, such as the first of its near-duplicates, ``[Q]``; ``""`` for a row without text, such as one of a
            forgotten user, which is a group of its own.
        seed: The seed of the division.
        test: The share of test rows.

    Returns:
        The indices of each split's rows, ascending.

    Raises:
        DataError: A split with a positive share gets no row.
    """
    names = _named(groups)
    digests = [hashlib.sha256(f"{seed}/{name}".encode(errors="surrogatepass")).digest()[:8] for name in names]
    place = np.array([int.from_bytes(digest, "big") for digest in digests], dtype=np.float64) / 2.0**64
    members = {"train": place >= test + VALIDATION_SHARE, "validation": (place >= test) & (place < test + VALIDATION_SHARE), "test": place < test}
    shares = {"train": 1.0, "validation": VALIDATION_SHARE, "test": test}
    for name, rows in members.items():
        if shares[name] > 0 and not rows.any():
            rows_with = f"{quantity(len(place), 'row')} with {quantity(len(set(digests)), 'different question')}"
            few = f"{rows_with}, near-duplicates counted once,"
            advice = "give more, or name a --test-dataset" if test else "give more"
            raise DataError(f"the {name} split is empty: {few} are too few to divide; {advice}")
    return {name: np.flatnonzero(rows) for name, rows in members.items()}


def _named(groups: Sequence[str]) -> list[str]:
    """Return the groups, with a name for each row without text."""
    return [group or f"row {row} without text" for row, group in enumerate(groups)]


def split_groups(groups: Sequence[str], seed: int, test: float = TEST_SHARE) -> dict[str, NDArray[np.intp]]:
    """Divide rows by whole groups, such as users, in the order of a hash of the seed and the group; a positive share gets at least one group.

    Raises:
        DataError: There are fewer groups than splits.
    """
    groups = _named(groups)
    ordered = sorted(set(groups), key=lambda group: hashlib.sha256(f"{seed}/{group}".encode(errors="surrogatepass")).digest())
    held = {name: max(1, round(share * len(ordered))) if share > 0 else 0 for name, share in (("test", test), ("validation", VALIDATION_SHARE))}
    if sum(held.values()) >= len(ordered):
        needed = sum(held.values()) + 1
        raise DataError(
            f"the data has {quantity(len(ordered), 'group', 'groups')} of rows, such as users, and {needed} are needed; give more of them"
        )
    first, second = held["test"], held["test"] + held["validation"]
    members = {"train": set(ordered[second:]), "validation": set(ordered[first:second]), "test": set(ordered[:first])}
    return {name: np.array([row for row, group in enumerate(groups) if group in chosen], dtype=np.intp) for name, chosen in members.items()}
