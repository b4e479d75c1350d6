"""Dataset format ``synthetic``: labelled texts composed in memory, or read from the files of ``data generate``."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import attrs
import numpy as np

from aamc_datasets.recognition import existing, hint
from aamc_datasets.synthetic.composition import Composer, Composition
from aamc_datasets.synthetic.grammar import CATEGORIES, load_grammar
from aamc_datasets.synthetic.labelled_csv import read_labelled
from aamc_sdk import Dataset, DatasetFormat, Labels, Query, option
from aamc_sdk.errors import ConfigError, DataError, nearest, one_of

MAX_TEXTS = 1_000_000
"""Maximum number of texts per split; the grammar has many times more."""
FILES = {"train": "train.csv", "validation": "val.csv", "test": "test.csv"}
"""The file name of each split."""
SHARES = {"train": 0.70, "validation": 0.15, "test": 0.15}
"""The share of the grammar's texts in each split."""


@attrs.frozen(kw_only=True)
class SyntheticOptions:
    """Options of ``synthetic``."""

    n_train: int = option(10_000, "training texts", at_least=1, at_most=MAX_TEXTS)
    n_validation: int = option(2_000, "validation texts", at_least=1, at_most=MAX_TEXTS)
    n_test: int = option(2_000, "test texts", at_least=1, at_most=MAX_TEXTS)
    seed: int | None = option(None, "seed of the texts; null uses the run's seed", at_least=0)
    shares: Mapping[str, float] = option(
        {}, "relative frequencies of categories, such as {code: 3, chat: 1}; empty: those of the environment's world, by default equal"
    )

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {"n_train": 2_000, "n_validation": 400, "n_test": 1_000}}

    def __attrs_post_init__(self) -> None:
        check_shares(self.shares)


class Synthetic(DatasetFormat):
    """Labelled texts of eight categories."""

    Config = SyntheticOptions
    config: SyntheticOptions

    def read(self, path: str) -> Dataset | Mapping[str, Dataset]:
        """Compose texts if ``path`` is empty; else read a folder of three CSV files, or one CSV file.

        Raises:
            DataError: The path does not exist, has another format, or contains an invalid row.
        """
        if not path:
            seed = self.services.seed if self.config.seed is None else self.config.seed
            sizes = {"train": self.config.n_train, "validation": self.config.n_validation, "test": self.config.n_test}
            return compose_splits(sizes, seed, self.config.shares)
        location = existing(path, "folder of train.csv, val.csv and test.csv, or a CSV file")
        if location.is_file():
            if location.suffix != ".csv":
                raise DataError(f"{location} is not a .csv file, as format synthetic reads{hint(location, 'synthetic')}")
            return read_labelled(location)
        missing = [name for name in FILES.values() if not (location / name).is_file()]
        if missing:
            folder = location if len(missing) == len(FILES) else "ANOTHER_FOLDER"
            advice = f"write the files with: aamc data generate --out {folder}"
            raise DataError(f"{location} has no {' and no '.join(missing)}; {advice}{hint(location, 'synthetic')}")
        return {split: read_labelled(location / name) for split, name in FILES.items()}


def check_shares(shares: Mapping[str, float]) -> None:
    """Check relative frequencies of categories.

    Raises:
        ConfigError: A category is unknown, or its share is negative, or all are 0.
    """
    for name, share in shares.items():
        if name not in CATEGORIES:
            advice = "texts of other categories are read from a file: --dataset synthetic:FILE.csv"
            raise ConfigError(
                f"shares: no texts of category {name!r} can be generated{nearest(name, CATEGORIES)} (there are: {one_of(CATEGORIES)}); {advice}"
            )
        if not 0 <= share < math.inf:
            raise ConfigError(f"shares: the share of {name!r} must be a finite number of at least 0, not {share!r}")
    if shares and not sum(shares.values()) > 0:
        raise ConfigError("shares: at least one category needs a share above 0")


def compose_splits(sizes: Mapping[str, int], seed: int, shares: Mapping[str, float] | None = None) -> dict[str, Dataset]:
    """Compose distinct texts for each split.

    The hash of a text determines its split, so a training text is never a test text, for any seed and size.

    Args:
        sizes: Number of texts by split.
        seed: The same seed gives the same texts; a larger size only adds texts.
        shares: Relative frequencies of categories; those that are not named do not occur. Without any, all are equal.
    """
    composer = Composer(load_grammar(), seed, shares)
    compositions: dict[str, list[Composition]] = {split: [] for split in sizes}
    seen: set[str] = set()
    while any(len(compositions[split]) < size for split, size in sizes.items()):
        composition = composer.compose()
        key = " ".join(composition.text.split()).lower()
        split = split_of(key)
        if key not in seen and len(compositions[split]) < sizes[split]:
            seen.add(key)
            compositions[split].append(composition)
    return {split: _dataset(rows, f"synthetic, seed {seed}") for split, rows in compositions.items()}


def split_of(key: str) -> str:
    """Return the split of a text; ``key`` is the text in lower case with single spaces."""
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    position = int.from_bytes(digest, "big") / 2**64
    if position < SHARES["train"]:
        return "train"
    return "validation" if position < SHARES["train"] + SHARES["validation"] else "test"


def _dataset(rows: Sequence[Composition], source: str) -> Dataset:
    labels = Labels(
        complexity=np.array([row.complexity for row in rows]),
        category=np.array([row.category for row in rows]),
        tool_use=np.array([float(row.tool_use) for row in rows]),
    )
    return Dataset([Query(row.text) for row in rows], labels=labels, source=source)
