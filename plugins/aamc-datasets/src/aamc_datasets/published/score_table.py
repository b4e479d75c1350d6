"""Score tables: the common form of published scores."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_datasets.published.costs import CostOptions
from aamc_sdk import Dataset, Labels, ModelSpec, Pool, Prices
from aamc_sdk.errors import DataError
from aamc_sdk.types import Floats


@attrs.frozen(eq=False)
class ScoreTable:
    """The scores of M candidates on Q questions.

    Attributes:
        texts: The questions.
        categories: The category of each question, or ``""``.
        candidates: The names of the candidates.
        quality: Quality from 0 to 1, ``[Q, M]``, NaN where unknown.
        cost_usd: Measured costs, ``[Q, M]``, or None.
        output_tokens: Lengths of the answers, ``[Q, M]``, NaN where unknown, or None.
    """

    texts: Sequence[str]
    categories: Sequence[str]
    candidates: Sequence[str]
    quality: Floats
    cost_usd: Floats | None = None
    output_tokens: Floats | None = None

    def dataset(self, options: CostOptions, source: str, prices: Mapping[str, Prices] | None = None) -> Dataset:
        """Return the table as a dataset.

        Args:
            options: The assumptions about costs.
            source: The origin of the table.
            prices: Prices by candidate; prices in the options override them.

        Raises:
            DataError: A candidate has neither a cost nor a price.
        """
        known = prices or {}
        pool = options.priced(Pool(ModelSpec(name, prices=known.get(name)) for name in self.candidates), source)
        queries = [options.query(text) for text in self.texts]
        outcomes, cost_note = options.outcomes(queries, pool, self.quality, self.cost_usd, self.output_tokens)
        labels = Labels(category=np.array(self.categories) if any(self.categories) else None)
        return Dataset(queries, pool=pool, outcomes=outcomes, labels=labels, source=source, cost_note=cost_note)


def stack(tables: Sequence[ScoreTable]) -> ScoreTable:
    """Return several tables without costs as one; the cells of a candidate missing in a table are unknown."""
    names = list(dict.fromkeys(name for table in tables for name in table.candidates))
    quality, tokens = (np.full((sum(len(table.texts) for table in tables), len(names)), np.nan) for _ in range(2))
    start = 0
    for table in tables:
        columns = np.array([names.index(name) for name in table.candidates])
        cells = np.ix_(np.arange(start, start := start + len(table.texts)), columns)
        quality[cells] = table.quality
        if table.output_tokens is not None:
            tokens[cells] = table.output_tokens
    texts = [text for table in tables for text in table.texts]
    categories = [category for table in tables for category in table.categories]
    return ScoreTable(texts, categories, names, quality, output_tokens=tokens if np.isfinite(tokens).any() else None)


def from_rows(
    keys: Sequence[Hashable],
    texts: Sequence[str],
    categories: Sequence[str],
    candidates: Sequence[str],
    quality: Floats,
    cost_usd: Floats | None = None,
    output_tokens: Floats | None = None,
) -> ScoreTable:
    """Return a table from R rows, each with the score of one candidate on one question.

    Repeated answers of a candidate to a question are averaged.

    Args:
        keys: The key of each row's question.
        texts: The text of each row's question.
        categories: The category of each row's question.
        candidates: The candidate of each row.
        quality: Quality from 0 to 1, ``[R]``, NaN where unknown.
        cost_usd: Measured costs, ``[R]``, or None.
        output_tokens: Lengths of the answers, ``[R]``, NaN where unknown, or None.

    Raises:
        DataError: A key has two texts.
    """
    rows, questions = _numbered(keys)
    columns, names = _numbered(candidates)
    first = np.unique(rows, return_index=True)[1]
    for row, question in enumerate(rows):
        if texts[row] != texts[first[question]]:
            different = f"{texts[first[question]]!r:.40} and {texts[row]!r:.40}"
            raise DataError(f"question {keys[row]!r} has two texts, {different}; give each a unique id")
    shape = (len(questions), len(names))
    return ScoreTable(
        texts=[texts[row] for row in first],
        categories=[categories[row] for row in first],
        candidates=[str(name) for name in names],
        quality=_means(rows, columns, quality, shape),
        cost_usd=None if cost_usd is None else _means(rows, columns, cost_usd, shape),
        output_tokens=None if output_tokens is None or np.isnan(output_tokens).all() else _means(rows, columns, output_tokens, shape),
    )


def _numbered(keys: Iterable[Hashable]) -> tuple[NDArray[np.intp], list[Hashable]]:
    """Return each key's number and the distinct keys, in order of appearance."""
    numbers: dict[Hashable, int] = {}
    codes = np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.intp)
    return codes, list(numbers)


def _means(rows: NDArray[np.intp], columns: NDArray[np.intp], values: Floats, shape: tuple[int, int]) -> Floats:
    """Return the mean of the known values of each cell, NaN if there is none."""
    known = np.isfinite(values)
    cells = (rows * shape[1] + columns)[known]
    counts = np.bincount(cells, minlength=shape[0] * shape[1])
    sums = np.bincount(cells, weights=values[known], minlength=shape[0] * shape[1])
    means = np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    return np.asarray(means.reshape(shape))
