"""Arrays over many requests: estimates, outcomes, the request that a router scores, and its scores.

B queries, M candidates, C categories, D embedding width. NaN is an unknown value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.errors import NoCandidateError
from aamc_sdk.messages import first_values, nearest, one_of
from aamc_sdk.types.arithmetic import Floats, read_only
from aamc_sdk.types.pools import Pool
from aamc_sdk.types.queries import Query

Rows = NDArray[np.intp] | NDArray[np.bool_] | slice | list[int]
"""Selects rows of an array."""


def _optional(function: Callable[[Floats], Floats], array: Floats | None) -> Floats | None:
    return None if array is None else function(array)


@attrs.frozen(eq=False)
class Estimates:
    """An estimator's description of B queries. It depends only on each query, so it can be cached.

    Attributes:
        complexity: Complexity from 0 (easy) to 1 (hard), ``[B]``.
        categories: Probability of each category, ``[B, C]``.
        category_names: Names of the C categories.
        tool_use: Probability that tools are needed, ``[B]``.
        embedding: Embedding of each text, ``[B, D]``; None if there is none.
        fingerprint: Identifies the estimator and its weights; estimates with equal fingerprints are comparable.
    """

    complexity: Floats
    categories: Floats
    category_names: tuple[str, ...]
    tool_use: Floats
    embedding: Floats | None = None
    fingerprint: str = ""

    @classmethod
    @lru_cache(4)
    def unknown(cls, size: int) -> Estimates:
        """Return the estimates of ``size`` queries without an estimator: all unknown."""
        unknown = read_only(np.full(size, np.nan))
        return cls(unknown, read_only(np.empty((size, 0))), (), unknown)

    @classmethod
    def stack(cls, parts: Sequence[Estimates]) -> Estimates:
        """Concatenate estimates along the rows.

        The result has the categories of all parts; a category that a part lacks has probability 0 there. Missing and
        shorter embeddings are padded with NaN. The fingerprint is empty if the parts come from several estimators,
        whose embeddings cannot be compared; parts without an estimator do not count.
        """
        if not parts:
            return cls.unknown(0)
        fingerprints = {part.fingerprint for part in parts if part.fingerprint or part.embedding is not None or np.isfinite(part.complexity).any()}
        names = tuple(dict.fromkeys(name for part in parts for name in part.category_names))
        width = max((part.embedding.shape[1] for part in parts if part.embedding is not None), default=0)
        return cls(
            complexity=np.concatenate([part.complexity for part in parts]),
            categories=np.concatenate([part.aligned(names) for part in parts]),
            category_names=names,
            tool_use=np.concatenate([part.tool_use for part in parts]),
            embedding=np.concatenate([part._embedding_of_width(width) for part in parts]) if width else None,
            fingerprint=fingerprints.pop() if len(fingerprints) == 1 else "",
        )

    def _embedding_of_width(self, width: int) -> Floats:
        own = np.empty((len(self), 0), np.float32) if self.embedding is None else self.embedding
        return np.pad(own, ((0, 0), (0, width - own.shape[1])), constant_values=np.nan)

    def __len__(self) -> int:
        return len(self.complexity)

    def take(self, rows: Rows) -> Estimates:
        """Return the estimates of some rows."""
        return attrs.evolve(
            self,
            complexity=self.complexity[rows],
            categories=self.categories[rows],
            tool_use=self.tool_use[rows],
            embedding=_optional(lambda array: array[rows], self.embedding),
        )

    def aligned(self, names: Sequence[str]) -> Floats:
        """Return the category probabilities in the order of ``names``, ``[B, len(names)]``; 0 for an unknown name."""
        if tuple(names) == self.category_names:
            return self.categories
        result = np.zeros((len(self), len(names)))
        for column, name in enumerate(names):
            if name in self.category_names:
                result[:, column] = self.categories[:, self.category_names.index(name)]
        return result


@attrs.frozen(eq=False)
class AnswerLengths:
    """The expected lengths of answers in output tokens.

    Attributes:
        tokens: Expected tokens of each query and candidate, ``[B, M]``; NaN where unknown.
        mean_tokens: Each candidate's mean in the training data, ``[M]``: the length that its mean latency belongs to.
        fixed_latency: The share of each candidate's mean latency that does not grow with the length, ``[M]`` or one for all.
    """

    tokens: Floats
    mean_tokens: Floats
    fixed_latency: Floats | float = 0.0


@attrs.frozen(eq=False, slots=False)  # without slots, construction takes a third less time
class Outcomes:
    """The actual or expected outcome of each query and candidate.

    Attributes:
        quality: Quality from 0 to 1, ``[B, M]``; None if unknown everywhere.
        cost_usd: Cost in USD, ``[B, M]``.
        latency_ms: Latency in milliseconds, ``[B, M]``.
        output_tokens: Tokens of the answer, ``[B, M]``; None if unknown everywhere.
    """

    quality: Floats | None
    cost_usd: Floats
    latency_ms: Floats
    output_tokens: Floats | None = attrs.field(default=None, kw_only=True)

    @property
    def known_quality(self) -> Floats:
        """The quality ``[B, M]``; NaN if ``quality`` is None."""
        return np.full_like(self.cost_usd, np.nan) if self.quality is None else self.quality

    @property
    def means(self) -> Floats:
        """Each candidate's mean quality, cost and latency over its known cells, ``[M, 3]``; NaN without known cells."""
        columns = (self.known_quality, self.cost_usd, self.latency_ms)
        return np.stack([_known_mean(column) for column in columns], axis=1)

    @property
    def latency_known(self) -> bool:
        """Whether every candidate has at least one known latency; otherwise latencies cannot be compared."""
        return bool(np.isfinite(self.latency_ms).any(axis=0).all())

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether each cell is known, ``[B, M]``; latency is ignored unless ``latency_known``."""
        known = np.isfinite(self.known_quality) & np.isfinite(self.cost_usd)
        return known & np.isfinite(self.latency_ms) if self.latency_known else known

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Whether all cells of each row are known, ``[B]``."""
        return np.asarray(self.known.all(axis=1))

    def complete_among(self, allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Whether the cells of all allowed candidates ``[B, M]`` of each row are known, ``[B]``."""
        return self.with_substitutes(allowed).complete

    def with_substitutes(self, allowed: NDArray[np.bool_]) -> Outcomes:
        """Return the outcomes of constant policies: where a candidate is not allowed, the row's first allowed one serves in its place.

        A row without any allowed candidate stays as it is.
        """
        if allowed.all():
            return self
        own = allowed | ~allowed.any(axis=1, keepdims=True)
        place = np.where(own, np.arange(own.shape[1]), own.argmax(axis=1)[:, None])
        return self._map(lambda array: np.take_along_axis(array, place, axis=1))

    def where(self, kept: NDArray[np.bool_]) -> Outcomes:
        """Return the outcomes with only some cells ``[B, M]`` known."""
        return self if kept.all() else self._map(lambda array: np.where(kept, array, np.nan))

    def take(self, rows: Rows) -> Outcomes:
        """Return the outcomes of some rows."""
        return self._map(lambda array: array[rows])

    def columns(self, candidates: Rows) -> Outcomes:
        """Return the outcomes of some candidates."""
        return self._map(lambda array: array[:, candidates])

    def _map(self, function: Callable[[Floats], Floats]) -> Outcomes:
        tokens = _optional(function, self.output_tokens)
        return Outcomes(_optional(function, self.quality), function(self.cost_usd), function(self.latency_ms), output_tokens=tokens)


def _known_mean(values: Floats) -> Floats:
    known = np.isfinite(values)
    counts = known.sum(axis=0)
    sums = np.where(known, values, 0.0).sum(axis=0)
    return np.asarray(np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0))


@attrs.frozen(eq=False, slots=False)  # quicker to construct
class RoutingRequest:
    """The input of a router, for a batch of B requests; ``len(request)`` is B.

    In service its arrays are read-only, since the log and other routers read them too.

    Attributes:
        queries: The B queries.
        estimates: The estimator's description of the queries.
        pool: The M candidates.
        preferences: Weights of quality, cost and latency, ``[B, 3]``.
        expected: Expected outcomes. Cost includes a lost prompt cache, latency includes the wait.
        wait_ms: Time until each candidate could start, in milliseconds, ``[B, M]``.
        in_flight: Requests in progress at each candidate, ``[B, M]``; None for zeros.
        pressure: How scarce each candidate is beyond its wait, see :class:`PoolState`, ``[B, M]``; None for zeros.
        budget_usd: Maximum expected cost of an answer; None for no limit.
        quality_floor: Minimum expected quality, by which the mask is narrowed once the router has scored; None for none.
        mask: Whether a candidate is allowed, ``[B, M]``.
        masked_why: The cells ``[B, M]`` that the mask excludes, by reason.
        hindsight: True outcomes; only privileged routers receive them.
        preference_given: Whether the caller chose the preferences; otherwise they are the default ones.
        embed: Returns the estimator's embeddings ``[N, D]`` of any texts, such as candidates' descriptions, or None if it has none; None
            without an estimator, and in recorded requests.
        all_allowed: Whether no candidate is masked in any row.
    """

    queries: Sequence[Query] = attrs.field(repr=first_values)
    estimates: Estimates
    pool: Pool
    preferences: Floats
    expected: Outcomes
    wait_ms: Floats
    mask: NDArray[np.bool_]
    masked_why: Mapping[str, NDArray[np.bool_]] = attrs.field(factory=dict)
    hindsight: Outcomes | None = None
    preference_given: bool = True
    in_flight: Floats | None = attrs.field(default=None, kw_only=True)
    budget_usd: float | None = attrs.field(default=None, kw_only=True)
    pressure: Floats | None = attrs.field(default=None, kw_only=True)
    quality_floor: float | None = attrs.field(default=None, kw_only=True)
    embed: Callable[[Sequence[str]], Floats | None] | None = attrs.field(default=None, kw_only=True)
    all_allowed: bool = attrs.field(init=False)

    @all_allowed.default
    def _all_allowed(self) -> bool:
        return bool(np.count_nonzero(self.mask) == self.mask.size)  # quicker than all()

    def __len__(self) -> int:
        return len(self.queries)

    def batches(self, cells: int) -> Iterator[RoutingRequest]:
        """Yield the rows in order, in batches of about ``cells`` (query, candidate) pairs, so that each batch fits the processor's cache."""
        rows = max(cells // len(self.pool), 1)
        for start in range(0, len(self), rows):
            yield self.take(slice(start, start + rows))

    def take(self, rows: NDArray[np.intp] | slice) -> RoutingRequest:
        """Return some rows of the request; rows may repeat."""
        return attrs.evolve(
            self,
            queries=self.queries[rows] if isinstance(rows, slice) else [self.queries[row] for row in rows],
            estimates=self.estimates.take(rows),
            preferences=self.preferences[rows],
            expected=self.expected.take(rows),
            wait_ms=self.wait_ms[rows],
            in_flight=None if self.in_flight is None else self.in_flight[rows],
            pressure=None if self.pressure is None else self.pressure[rows],
            mask=self.mask[rows],
            masked_why={why: where[rows] for why, where in self.masked_why.items()},
            hindsight=None if self.hindsight is None else self.hindsight.take(rows),
        )

    def with_preference(self, preference: Floats) -> RoutingRequest:
        """Return the same requests under one preference ``[3]``, or one for each row ``[B, 3]``."""
        return attrs.evolve(self, preferences=np.broadcast_to(preference, (len(self), 3)), preference_given=True)

    def reasons(self, row: int, candidate: int) -> str:
        """Return the reasons why a candidate is masked for a query, given by its row; ``""`` if it is allowed."""
        return ", ".join(why for why, where in self.masked_why.items() if where[row, candidate])

    def check_mask(self) -> None:
        """Check that each row has an allowed candidate.

        Raises:
            NoCandidateError: A row has none; the message gives each candidate's reason.
        """
        if self.all_allowed or self.mask.any(axis=1).all():
            return
        row = int(np.flatnonzero(~self.mask.any(axis=1))[0])
        reasons = "; ".join(f"{name}: {self.reasons(row, m)}" for m, name in enumerate(self.pool.names))
        abilities = frozenset[str]().union(*(candidate.abilities for candidate in self.pool))
        unmet = "".join(
            f"; no candidate has the ability {need!r}{nearest(need, abilities)} (the pool's abilities: {one_of(abilities)})"
            for need in sorted(self.queries[row].needs - abilities)
        )
        whose = f" for query {row}" if len(self) > 1 else ""
        raise NoCandidateError(
            f"no candidate is allowed{whose} ({reasons}){unmet}; relax the request's needs or budget, shorten it, or add candidates to the pool",
            {name: frozenset(why for why, where in self.masked_why.items() if where[row, m]) for m, name in enumerate(self.pool.names)},
        )


@attrs.frozen(eq=False, slots=False)  # quicker to construct
class Scores:
    """A router's answer for a batch.

    Attributes:
        utility: Utility of each candidate, higher is better, ``[B, M]``; masked candidates are ignored.
        probabilities: Probability of drawing each candidate, ``[B, M]``, drawn from if ``Router.samples``; None to take the maximum utility.
        propensity_known: Whether ``probabilities`` are exactly those of the draw.
        spent_usd: Cost of the decision itself in USD, ``[B]`` or one number for all rows.
        spent_ms: Time of the decision spent waiting for others, in milliseconds, ``[B]`` or one number for all rows.
        expected_quality: The router's own prediction of quality, ``[B, M]``; None if it has none.
        notes: Notes to record with each decision, one mapping a row; empty for none. A text named ``why`` joins the explanation.
    """

    utility: Floats
    probabilities: Floats | None = None
    propensity_known: bool = True
    spent_usd: Floats | float = 0.0
    spent_ms: Floats | float = 0.0
    expected_quality: Floats | None = None
    notes: Sequence[Mapping[str, Any]] = attrs.field(default=(), repr=first_values)
