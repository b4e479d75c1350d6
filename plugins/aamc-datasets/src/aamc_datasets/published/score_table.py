"""Score tables, the common form of published scores, and the options of published formats.

Costs that the files do not give are price times tokens; scores outside 0 to 1 are clipped or refused.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk import Dataset, DatasetFormat, Labels, ModelSpec, Outcomes, Pool, Prices, Query, option
from aamc_sdk.config import configure
from aamc_sdk.errors import DataError, PoolError
from aamc_sdk.messages import nearest, one_of
from aamc_sdk.routing import expected_cost
from aamc_sdk.types import CHARACTERS_PER_TOKEN, DEFAULT_OUTPUT_TOKENS, Floats

logger = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class CostOptions:
    """Assumptions about costs that were not measured, and the treatment of scores outside 0 to 1."""

    characters_per_token: float = option(float(CHARACTERS_PER_TOKEN), "Characters per prompt token.", above=0)
    output_tokens: int = option(DEFAULT_OUTPUT_TOKENS, "Assumed tokens of every answer.", at_least=0)
    prices: Mapping[str, Any] = option(
        {}, "USD per million tokens by candidate, such as {gpt-4: {input: 30, output: 60}}; they override prices and costs in the files."
    )

    strict: bool = option(False, "Refuse scores outside 0 to 1, instead of clipping and counting them.")

    def clipped(self, scores: Floats, source: object) -> Floats:
        """Return scores from 0 to 1; a warning counts those that were outside."""
        outside = (scores < 0) | (scores > 1)
        if outside.any():
            logger.warning(
                "%s: %d of %d scores are outside 0 to 1 (%g to %g) and were clipped; to refuse such files: --set dataset.strict=true",
                source,
                outside.sum(),
                np.isfinite(scores).sum(),
                scores[outside].min(),
                scores[outside].max(),
            )
        return np.clip(scores, 0.0, 1.0)

    def query(self, text: str) -> Query:
        """Return a query with the token counts that its costs assume."""
        usual = text.isascii() and self.characters_per_token == CHARACTERS_PER_TOKEN
        return Query(
            text,
            prompt_tokens=None if usual else math.ceil(len(text) / self.characters_per_token),
            output_tokens=None if self.output_tokens == DEFAULT_OUTPUT_TOKENS else self.output_tokens,
        )

    def priced(self, pool: Pool, source: str) -> Pool:
        """Return the pool with the prices of the options.

        Raises:
            ConfigError: A price is invalid.
            DataError: A price names a candidate that is not in the pool.
        """
        for name in self.prices:
            if name not in pool.names:
                raise DataError(f"prices name {name!r}, and {source} has no such candidate{nearest(name, pool.names)} (it has: {one_of(pool.names)})")
        given = {name: configure(Prices, price, where=f"the price of {name}") for name, price in self.prices.items()}
        return Pool(attrs.evolve(each, prices=given[each.name]) if isinstance(each, ModelSpec) and each.name in given else each for each in pool)

    def outcomes(
        self, queries: Sequence[Query], pool: Pool, quality: Floats, measured: Floats | None = None, output_tokens: Floats | None = None
    ) -> tuple[Outcomes, str]:
        """Return outcomes, and a note about the assumptions of their costs.

        Args:
            queries: Q queries made by :meth:`query`.
            pool: M candidates, returned by :meth:`priced`.
            quality: ``[Q, M]``, NaN where unknown.
            measured: The costs in the files in USD, ``[Q, M]``, NaN where unknown; None if the files have none.
            output_tokens: The lengths of the answers in the files, ``[Q, M]``, NaN where unknown; None if the files have none.

        Raises:
            DataError: A cost must be computed and its candidate has no price.
        """
        by_price = np.array([measured is None or name in self.prices for name in pool.names])
        if measured is not None:
            by_price |= (np.isnan(measured) | np.isnan(quality)).all(axis=0) & np.isfinite(quality).any(axis=0)
        unpriced = [each.name for each, computed in zip(pool, by_price, strict=True) if computed and getattr(each, "prices", None) is None]
        if unpriced:
            example = f"--set 'dataset.prices={{\"{unpriced[0]}\": {{input: 0.5, output: 1.5}}}}'"
            raise DataError(
                f"candidate {unpriced[0]!r} has no price ({len(unpriced)} of {len(pool)} have none); "
                f"give prices in USD per million tokens, to aamc run or aamc data convert: {example}"
            )
        cost = expected_cost(queries, pool, output_tokens)
        if measured is not None:
            cost = np.where(by_price, cost, measured)
        known = np.isfinite(quality) & np.isfinite(cost)
        unknown = np.full_like(quality, np.nan)
        outcomes = Outcomes(np.where(known, quality, np.nan), np.where(known, cost, np.nan), unknown, output_tokens=output_tokens)
        return outcomes, self._note(pool, by_price, given=output_tokens is not None)

    def _note(self, pool: Pool, by_price: NDArray[np.bool_], *, given: bool) -> str:
        if not by_price.any():
            return ""
        some = "" if by_price.all() else f" for {one_of(np.array(pool.names)[by_price])}"
        return (
            f"price times tokens{some}; prompt tokens are estimated at {self.characters_per_token:g} characters each, "
            f"and every answer {'without a known length ' if given else ''}is taken to have {self.output_tokens} output tokens"
        )


class PublishedFormat(DatasetFormat):
    """A format of published scores, whose files lack some costs."""

    Config = CostOptions
    config: CostOptions


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
        """Return the table as a dataset; prices in the options override the given ones.

        Raises:
            DataError: A candidate has neither a cost nor a price.
        """
        known = prices or {}
        try:
            candidates = Pool(ModelSpec(name, prices=known.get(name)) for name in self.candidates)
        except PoolError as error:
            raise DataError(f"{source}: {error}") from error
        pool = options.priced(candidates, source)
        queries = [options.query(text) for text in self.texts]
        try:
            outcomes, cost_note = options.outcomes(queries, pool, self.quality, self.cost_usd, self.output_tokens)
        except DataError as error:
            raise DataError(f"{source}: {error}") from error
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
    source: object,
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
        source: The file or folder, for error messages.
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
            raise DataError(f"{source}: question {keys[row]!r} has two texts, {different}; give each a unique id")
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
