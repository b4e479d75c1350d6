"""The optional columns of logged outcomes, made from the contents of decisions.

msgspec decodes a content without building and validating an object of the types for each decision.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.errors import DataError, unknown_name
from aamc_sdk.log.decision_row import query_from
from aamc_sdk.log.json_text import decoded
from aamc_sdk.log.lazy_sequence import LazySequence
from aamc_sdk.types import Preference

OUTCOME_COLUMNS: Mapping[str, str] = {
    "time": "Time of the decision, in seconds since the epoch, [N].",
    "tenant": "Tenant, N of them; None without one.",
    "router": "Name of the router, N of them.",
    "text": "Text of the request, N of them; empty where the log keeps none.",
    "query": "The query, N of them; each is made when it is read.",
    "preference": "Weights of quality, cost and latency, [N, 3].",
    "preference_given": "Whether the caller chose the preference, [N].",
    "probabilities": "Probability of each candidate, [N, K]; 0 for candidates that the decision did not have, NaN where it is not known.",
    "expected_quality": "Expected quality of each candidate, [N, K].",
    "expected_cost_usd": "Expected cost in USD, [N, K].",
    "expected_latency_ms": "Expected latency in milliseconds, [N, K].",
    "wait_ms": "Waiting time of each candidate in milliseconds, [N, K].",
    "in_flight": "Requests in flight at each candidate, [N, K]; NaN where they were not recorded.",
    "mask": "Whether a candidate was allowed, [N, K]; False for candidates that the decision did not have.",
    "masked_why": "Why candidates were not allowed, by name, N mappings.",
    "complexity": "Estimated complexity, from 0 to 1, [N].",
    "tool_use": "Estimated probability that tools are needed, [N].",
    "categories": "Estimated probability of each category, [N, C]; NaN for categories that the estimates did not have.",
    "embedding": "Embedding of the text, float32 [N, D]; NaN beyond the length of a shorter one, None if no decision has one.",
    "estimator": "Fingerprint of the estimates, N of them.",
}
"""The columns that :meth:`aamc_sdk.interfaces.Store.outcomes` adds on request, with their meaning; NaN where a number is unknown."""
FIGURES = ("cost_usd", "latency_ms", "output_tokens")
"""The figures of a call that logged outcomes have."""
ALWAYS = ("propensity", "quality", *FIGURES, "judged", "failed", "fell_back", "compared")
"""The columns that logged outcomes always have."""

_Numbers = list[float | None]


class _Decision(msgspec.Struct, gc=False):
    candidate: str
    propensity: float | None
    preference: tuple[float, float, float]
    probabilities: dict[str, float] = {}
    router: str = ""


class _Query(msgspec.Struct, gc=False):
    text: str
    user: str | None = None
    session: str | None = None
    needs: list[str] = []
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    cached_on: str | None = None
    turns: list[dict[str, Any]] = []
    tenant: str | None = None


class _Estimates(msgspec.Struct, gc=False):
    complexity: float | None
    categories: _Numbers
    category_names: tuple[str, ...]
    tool_use: float | None
    fingerprint: str = ""


class _Expected(msgspec.Struct, gc=False):
    quality: _Numbers | None
    cost_usd: _Numbers
    latency_ms: _Numbers


class _Content(msgspec.Struct, gc=False):
    decision: _Decision
    query: _Query
    estimates: _Estimates
    candidates: tuple[str, ...]
    expected: _Expected
    wait_ms: _Numbers
    masked_why: dict[str, str]
    preference_given: bool = True
    in_flight: _Numbers | None = None


_CONTENT = msgspec.json.Decoder(_Content)


def _chances(content: _Content) -> Collection[float] | None:
    """Return the probability of each candidate of a decision; None where it is not known."""
    drawn = content.decision
    if drawn.propensity is None:
        return None
    if drawn.probabilities:
        return [drawn.probabilities.get(name, 0.0) for name in content.candidates]
    return [float(name == drawn.candidate) for name in content.candidates] if drawn.propensity == 1 else None


_VALUES: Mapping[str, Callable[[_Content], Any]] = {
    "tenant": attrgetter("query.tenant"),
    "router": attrgetter("decision.router"),
    "text": attrgetter("query.text"),
    "query": attrgetter("query"),
    "preference": attrgetter("decision.preference"),
    "preference_given": attrgetter("preference_given"),
    "masked_why": attrgetter("masked_why"),
    "complexity": attrgetter("estimates.complexity"),
    "tool_use": attrgetter("estimates.tool_use"),
    "estimator": attrgetter("estimates.fingerprint"),
}
"""A decision's value of the columns with one value each; ``time`` is kept beside the content."""
_BY_CANDIDATE: Mapping[str, Callable[[_Content], Collection[Any] | None]] = {
    "probabilities": _chances,
    "expected_quality": attrgetter("expected.quality"),
    "expected_cost_usd": attrgetter("expected.cost_usd"),
    "expected_latency_ms": attrgetter("expected.latency_ms"),
    "wait_ms": attrgetter("wait_ms"),
    "in_flight": attrgetter("in_flight"),
    "mask": lambda content: [name not in content.masked_why for name in content.candidates],
}
"""A decision's values of the columns with one value a candidate; None where they are not known."""
_TYPES = {"mask": np.bool_, "preference_given": np.bool_, "embedding": np.float32}
"""The types of columns that do not hold 64-bit floats."""
_Part = tuple[list[int], Sequence[Any], NDArray[Any]]
"""Rows of a table, the keys of the columns that they fill, and their values ``[rows, keys]``."""
_LISTS = ("tenant", "router", "text", "masked_why", "estimator")


class OutcomeColumns:
    """Turns the contents of decisions into the requested columns.

    Args:
        asked: Requested names of ``OUTCOME_COLUMNS``, or of the figures that logged outcomes always have.

    Raises:
        DataError: A name is unknown.
    """

    def __init__(self, asked: Iterable[str]) -> None:
        self.asked = checked_columns(asked)
        self._pools: dict[tuple[str, ...], int] = {}
        self._pool: list[int] = []
        tables = (*_BY_CANDIDATE, "categories", "embedding")
        self._values: dict[str, list[Any]] = {name: [] for name in self.asked if name not in tables}
        self._tables: dict[str, list[_Part]] = {name: [] for name in self.asked if name in tables}

    def add(self, ids: Sequence[str], times: Sequence[float], contents: Sequence[str | bytes], embeddings: Sequence[bytes | None]) -> None:
        """Add the next decisions."""
        found = [decoded(_CONTENT, content, name) for name, content in zip(ids, contents, strict=True)]
        first = len(self._pool)
        self._pool += [self._pools.setdefault(content.candidates, len(self._pools)) for content in found]
        for name, values in self._values.items():
            values += times if name == "time" else map(_VALUES[name], found)
        for name, parts in self._tables.items():
            parts += _parts(first, _named(name, found, embeddings), _TYPES.get(name, np.float64))

    def finished(self) -> dict[str, Any]:
        """Return the arguments that logged outcomes take: names, pools and columns."""
        names = tuple(dict.fromkeys(name for pool in self._pools for name in pool))
        category_names = tuple(dict.fromkeys(name for _, keys, _ in self._tables.get("categories", ()) for name in keys))
        columns = {name: self._column(name, values) for name, values in self._values.items()}
        for name in self._tables:
            columns[name] = self._table(name, category_names if name == "categories" else names)
        return {
            "names": names,
            "category_names": category_names,
            "pools": tuple(self._pools),
            "pool": np.array(self._pool, dtype=np.intp),
            "columns": {name: columns[name] for name in self.asked},
        }

    def _column(self, name: str, values: list[Any]) -> Any:
        if name == "query":
            return LazySequence(values, lambda kept: query_from(msgspec.structs.asdict(kept)))
        if name == "preference":
            rescaled = cache(lambda *weights: Preference(*weights).array)
            return np.array([rescaled(*weights) for weights in values], dtype=np.float64).reshape(-1, 3)
        return values if name in _LISTS else np.array(values, dtype=_TYPES.get(name, np.float64))

    def _table(self, name: str, keys: Sequence[Any]) -> NDArray[Any] | None:
        """Return a column with a value of each key, ``[N, len(keys)]``; those of an embedding are positions."""
        if name == "embedding":
            keys = range(max((len(given) for _, given, _ in self._tables[name]), default=0))
            if not keys:
                return None
        places = {key: place for place, key in enumerate(keys)}
        table: NDArray[Any] = np.full((len(self._pool), len(keys)), False if name == "mask" else np.nan, _TYPES.get(name, np.float64))
        for rows, given, values in self._tables[name]:
            if name == "probabilities":
                table[rows] = 0.0
            table[np.ix_(rows, [places[key] for key in given])] = values
        return table


def _named(name: str, contents: Sequence[_Content], embeddings: Sequence[bytes | None]) -> Iterable[tuple[Sequence[Any], Any]]:
    """Yield the keys and the values of each decision in a table; the values are None where they are not known."""
    if name == "embedding":
        vectors = [None if each is None else np.frombuffer(each, "<f4") for each in embeddings]
        return ((range(0 if each is None else len(each)), each) for each in vectors)
    if name == "categories":
        return ((each.estimates.category_names, each.estimates.categories) for each in contents)
    return ((each.candidates, _BY_CANDIDATE[name](each)) for each in contents)


def _parts(first: int, named: Iterable[tuple[Sequence[Any], Any]], dtype: type[Any]) -> list[_Part]:
    """Return the values of successive decisions from row ``first`` on, those with the same keys together."""
    alike: dict[Sequence[Any], tuple[list[int], list[Any]]] = {}
    for row, (keys, values) in enumerate(named, first):
        if values is not None:
            rows, table = alike.setdefault(keys, ([], []))
            rows.append(row)
            table.append(values)
    return [(rows, keys, np.array(table, dtype)) for keys, (rows, table) in alike.items()]


def checked_columns(asked: Iterable[str]) -> tuple[str, ...]:
    """Return the names of ``OUTCOME_COLUMNS`` among those asked for; the figures that logged outcomes always have may be named too.

    Raises:
        DataError: They are no list of names, or a name is unknown.
    """
    if isinstance(asked, str) or not isinstance(asked, Iterable):
        raise DataError(f"columns must be a list of names such as ['text'], not {asked!r:.80}")
    names = tuple(dict.fromkeys(asked))
    for name in names:
        known = (*ALWAYS, *OUTCOME_COLUMNS)
        if name not in known:
            raise DataError(unknown_name("logged outcomes have no column", name, known, "they have"))
    return tuple(name for name in names if name in OUTCOME_COLUMNS)
