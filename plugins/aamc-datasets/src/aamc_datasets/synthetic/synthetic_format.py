"""Dataset format ``synthetic``: labelled texts made on the spot, or read from the files of ``data generate``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import attrs
import numpy as np

from aamc_datasets.recognition import existing, hint
from aamc_datasets.synthetic.composition import Composer, Composition
from aamc_datasets.synthetic.grammar import load_grammar
from aamc_datasets.synthetic.labelled_csv import read_labelled
from aamc_sdk import Dataset, DatasetFormat, Labels, Query, option
from aamc_sdk.errors import DataError

MOST = 1_000_000
"""Most texts of a split; the grammar has many times more."""
FILES = {"train": "train.csv", "validation": "val.csv", "test": "test.csv"}
"""The file of each split."""
SHARES = {"train": 0.70, "validation": 0.15, "test": 0.15}
"""How much of the grammar's texts belongs to each split."""


@attrs.frozen(kw_only=True)
class SyntheticConfig:
    """How much to make."""

    n_train: int = option(10_000, "training texts", at_least=1, at_most=MOST)
    n_validation: int = option(2_000, "validation texts", at_least=1, at_most=MOST)
    n_test: int = option(2_000, "test texts", at_least=1, at_most=MOST)
    seed: int | None = option(None, "seed of the texts; the run's own when null", at_least=0)

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {"n_train": 2_000, "n_validation": 400, "n_test": 1_000}}


class Synthetic(DatasetFormat):
    """Labelled texts of eight categories."""

    Config = SyntheticConfig
    config: SyntheticConfig

    def read(self, path: str) -> Dataset | Mapping[str, Dataset]:
        """Compose texts where ``path`` is empty; else read a folder of three CSV files, or one CSV file.

        Raises:
            DataError: The path is missing, is of another format, or has a bad row.
        """
        if not path:
            seed = self.services.seed if self.config.seed is None else self.config.seed
            sizes = {"train": self.config.n_train, "validation": self.config.n_validation, "test": self.config.n_test}
            return generate(sizes, seed)
        place = existing(path, "folder of train.csv, val.csv and test.csv, or a CSV file")
        if place.is_file():
            if place.suffix != ".csv":
                raise DataError(f"{place} is not a .csv file, as format synthetic reads{hint(place, 'synthetic')}")
            return read_labelled(place)
        missing = [name for name in FILES.values() if not (place / name).is_file()]
        if missing:
            advice = f"write the files with: aamc data generate --out {place}"
            raise DataError(f"{place} has no {' and no '.join(missing)}; {advice}{hint(place, 'synthetic')}")
        return {split: read_labelled(place / name) for split, name in FILES.items()}


def generate(sizes: Mapping[str, int], seed: int) -> dict[str, Dataset]:
    """Compose distinct texts for each split.

    A text's split follows from its own hash, so a training text of one seed and size is a test
    text of no other.

    Args:
        sizes: Texts wanted, by split.
        seed: The same seed gives the same texts; a larger size only adds to them.
    """
    composer = Composer(load_grammar(), seed)
    made: dict[str, list[Composition]] = {split: [] for split in sizes}
    seen: set[str] = set()
    while any(len(made[split]) < size for split, size in sizes.items()):
        composition = composer.compose()
        key = " ".join(composition.text.split()).lower()
        split = split_of(key)
        if key not in seen and len(made[split]) < sizes[split]:
            seen.add(key)
            made[split].append(composition)
    return {split: _dataset(rows, f"synthetic, seed {seed}") for split, rows in made.items()}


def split_of(key: str) -> str:
    """Return the split that a text belongs to; ``key`` is the text in lower case with single spaces."""
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    place = int.from_bytes(digest, "big") / 2**64
    if place < SHARES["train"]:
        return "train"
    return "validation" if place < SHARES["train"] + SHARES["validation"] else "test"


def _dataset(rows: Sequence[Composition], source: str) -> Dataset:
    labels = Labels(
        complexity=np.array([row.complexity for row in rows]),
        category=np.array([row.category for row in rows]),
        tool_use=np.array([float(row.tool_use) for row in rows]),
    )
    return Dataset([Query(row.text) for row in rows], labels=labels, source=source)
