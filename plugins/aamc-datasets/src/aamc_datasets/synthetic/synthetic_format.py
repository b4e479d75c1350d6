"""Dataset format ``synthetic``: labelled texts composed in memory, or read from the files of ``data generate``."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np

from aamc_datasets.columns import column_names, require_columns
from aamc_datasets.recognition import existing, hint
from aamc_datasets.synthetic.composition import CATEGORIES, Composer, Composition, load_grammar
from aamc_sdk import Dataset, DatasetFormat, Labels, Query, option
from aamc_sdk.errors import ConfigError, DataError
from aamc_sdk.messages import nearest, one_of
from aamc_sdk.storage import csv_rows, write_text

COLUMNS = ("text", "complexity", "category", "tool_use")


def write_labelled(path: Path, dataset: Dataset) -> None:
    """Write a dataset with all three labels, whole or not at all.

    Raises:
        DataError: A label is missing.
        OutputError: The folder cannot be written.
    """
    labels = dataset.labels
    if labels.complexity is None or labels.category is None or labels.tool_use is None:
        raise DataError("only a dataset with complexity, category and tool_use can be written as labelled CSV")
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    texts = (query.text for query in dataset.queries)
    writer.writerows(zip(texts, labels.complexity.tolist(), labels.category.tolist(), labels.tool_use.astype(int).tolist(), strict=True))
    write_text(path, file.getvalue())


def read_labelled(path: Path) -> Dataset:
    """Read a file in the format of :func:`write_labelled`.

    Raises:
        DataError: The file is missing, has other columns, or contains an invalid row; the message gives the line.
    """
    require_columns(path, COLUMNS, column_names(path), f"; its header must be {','.join(COLUMNS)}{hint(path, 'synthetic')}")
    rows = [_row(row, f"{path}, line {number}") for number, row in csv_rows(path)]
    if not rows:
        raise DataError(f"{path} has a header but no row; give at least one text")
    texts, complexity, category, tool_use = zip(*rows, strict=True)
    labels = Labels(np.array(complexity), np.array(category), np.array(tool_use))
    return Dataset([Query(text) for text in texts], labels=labels, source=str(path))


def _row(row: Mapping[str, str | None], where: str) -> tuple[str, float, str, float]:
    text, complexity, category, tool_use = (row[column] for column in COLUMNS)
    if tool_use is None:
        raise DataError(f"{where} does not have as many fields as the header")
    if not text or not text.strip():
        raise DataError(f"{where} has an empty text")
    if not category:
        raise DataError(f"{where} has an empty category")
    if tool_use not in ("0", "1"):
        raise DataError(f"{where}: tool_use must be 0 or 1, not {tool_use!r}")
    return text, _unit(complexity, where), category, float(tool_use)


def _unit(value: str | None, where: str) -> float:
    try:
        number = float(value or "")
    except ValueError:
        number = np.nan
    if not 0 <= number <= 1:
        raise DataError(f"{where}: complexity must be a number from 0 to 1, not {value!r}")
    return number


MAX_TEXTS = 1_000_000
"""Maximum number of texts per split; the grammar has many times more."""
FILES = {"train": "train.csv", "validation": "val.csv", "test": "test.csv"}
"""The file name of each split."""
SHARES = {"train": 0.70, "validation": 0.15, "test": 0.15}
"""The share of the grammar's texts in each split."""


@attrs.frozen(kw_only=True)
class SyntheticOptions:
    """Options of ``synthetic``."""

    n_train: int = option(10_000, "Training texts.", at_least=1, at_most=MAX_TEXTS)
    n_validation: int = option(2_000, "Validation texts.", at_least=1, at_most=MAX_TEXTS)
    n_test: int = option(2_000, "Test texts.", at_least=1, at_most=MAX_TEXTS)
    seed: int | None = option(None, "Seed of the texts; null uses the run's seed.", at_least=0)
    shares: Mapping[str, float] = option(
        {}, "Relative frequencies of categories, such as {code: 3, chat: 1}; empty: those of the environment's world, by default equal."
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

    The hash of a text determines its split, so a training text is never a test text, for any seed and size. A larger size only adds texts.
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
