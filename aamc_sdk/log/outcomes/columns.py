"""The optional columns of logged outcomes, made from the decisions' records."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aamc_sdk.errors import DataError, unknown_name
from aamc_sdk.log.lazy_sequence import LazySequence
from aamc_sdk.types import Floats, Preference, Query

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

_PER_CANDIDATE = ("expected_quality", "expected_cost_usd", "expected_latency_ms", "wait_ms", "in_flight")
_NUMBERS = ("time", "complexity", "tool_use")
_LISTS = ("tenant", "router", "text", "query", "masked_why", "estimator")


class OutcomeColumns:
    """Turns the fields of decisions into the requested columns.

    Args:
        asked: Requested names of ``OUTCOME_COLUMNS``, or of the figures that logged outcomes always have.
        read: Returns the fields of some decisions, as they were added, by name.
        make_query: Makes a query from the field ``query``.

    Raises:
        DataError: A name is unknown.
    """

    def __init__(self, asked: Iterable[str], read: Callable[[Any], Mapping[str, Sequence[Any]]], make_query: Callable[[Any], Query]) -> None:
        self.asked = checked_columns(asked)
        self._read = read
        self._make_query = make_query
        self._names: dict[str, int] = {}
        self._category_names: dict[str, int] = {}
        self._pools: dict[tuple[str, ...], int] = {}
        self._pool: list[int] = []
        self._parts: dict[str, list[Any]] = {name: [] for name in self.asked}

    def add(self, decisions: Any) -> None:
        """Add the next decisions: as many as fit into the processor's cache, since they are read several times."""
        fields = self._read(decisions)
        numbers = [self._pools.setdefault(names, len(self._pools)) for names in fields["candidates"]]
        self._pool += numbers
        for names in self._pools:
            for name in names:
                self._names.setdefault(name, len(self._names))
        pool = np.array(numbers, dtype=np.intp)
        for name, parts in self._parts.items():
            parts.append(self._part(name, fields, pool))

    def finished(self) -> dict[str, Any]:
        """Return the arguments that logged outcomes take: names, pools and columns."""
        if self.asked:
            self.add(())  # so that there is something to join
        return {
            "names": tuple(self._names),
            "category_names": tuple(self._category_names),
            "pools": tuple(self._pools),
            "pool": np.array(self._pool, dtype=np.intp),
            "columns": {name: self._joined(name, parts) for name, parts in self._parts.items()},
        }

    def _part(self, name: str, fields: Mapping[str, Sequence[Any]], pool: NDArray[np.intp]) -> Any:
        """Return a column of some decisions, from their fields by name."""
        if name in _LISTS:
            return fields[name]
        if name in _NUMBERS:
            return np.array(fields[name], dtype=np.float64)
        if name in _PER_CANDIDATE:
            return self._by_candidate(fields[name], pool)
        if name == "probabilities":
            given = (fields[each] for each in ("propensity", "probabilities", "candidate", "candidates"))
            chances = self._by_candidate(list(map(_chances, *given)), pool)
            known = ~np.isnan(chances).all(axis=1)
            chances[known] = np.nan_to_num(chances[known])
            return chances
        if name == "mask":
            return self._mask(fields["masked_why"], pool)
        if name == "preference":
            return _preferences(fields["preference"])
        if name == "preference_given":
            return np.array(fields[name], dtype=bool)
        return self._categories(fields["category_names"], fields[name]) if name == "categories" else _embeddings(fields["embedding"])

    def _by_candidate(self, values: Sequence[Any], pool: NDArray[np.intp]) -> Floats:
        """Return values of each decision's candidates as ``[n, K]``; NaN for other candidates, and where the values are None."""
        table = np.full((len(values), len(self._names)), np.nan)
        known = np.array([value is not None for value in values], dtype=bool)
        for number, names in enumerate(self._pools):
            rows = np.flatnonzero((pool == number) & known)
            if len(rows):
                given = values if len(rows) == len(values) else [values[row] for row in rows.tolist()]
                places = np.array([self._names[name] for name in names], dtype=np.intp)
                table[np.ix_(rows, places)] = _table(given, len(names))
        return table

    def _mask(self, masked_why: Sequence[Mapping[str, str]], pool: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return whether each candidate was allowed, ``[n, K]``."""
        had = np.array([[name in names for name in self._names] for names in self._pools], dtype=bool).reshape(len(self._pools), len(self._names))
        mask = had[pool]
        for row, reasons in enumerate(masked_why):
            for name in self._names.keys() & reasons.keys() if reasons else ():
                mask[row, self._names[name]] = False
        return mask

    def _categories(self, category_names: Sequence[tuple[str, ...]], categories: Sequence[Any]) -> Floats:
        alike: dict[tuple[str, ...], list[int]] = {}
        for row, names in enumerate(category_names):
            alike.setdefault(names, []).append(row)
        for names in alike:
            for name in names:
                self._category_names.setdefault(name, len(self._category_names))
        found = np.full((len(categories), len(self._category_names)), np.nan)
        for names, rows in alike.items():
            if names:
                values = np.array([categories[row] for row in rows], dtype=np.float64)
                found[np.ix_(rows, [self._category_names[name] for name in names])] = values
        return found

    def _joined(self, name: str, parts: Sequence[Any]) -> Any:
        if name in _LISTS:
            values = [value for part in parts for value in part]
            return LazySequence(values, self._make_query) if name == "query" else values
        if parts[0].ndim == 1:
            return np.concatenate(parts)
        width = max(part.shape[1] for part in parts)
        if name == "embedding" and not width:
            return None
        missing = False if name == "mask" else 0.0 if name == "probabilities" else np.nan
        whole = np.concatenate([_widened(part, width, missing) for part in parts])
        if name == "probabilities":
            whole[np.isnan(whole[:, :1]).ravel()] = np.nan
        return whole


def _widened(part: NDArray[Any], width: int, missing: float) -> NDArray[Any]:
    """Return a part ``[n, k]`` as ``[n, width]``; most have that width, and ``np.pad`` takes long."""
    return part if part.shape[1] == width else np.pad(part, ((0, 0), (0, width - part.shape[1])), constant_values=missing)


def _chances(propensity: float | None, probabilities: Mapping[str, float], candidate: str, candidates: tuple[str, ...]) -> Collection[float] | None:
    """Return the probability of each candidate; None where it is not known."""
    if propensity is None or math.isnan(propensity):
        return None
    if not probabilities:
        return [float(name == candidate) for name in candidates] if propensity == 1 else None
    if tuple(probabilities) == candidates:  # as most routers give them
        return probabilities.values()
    return [probabilities.get(name, 0.0) for name in candidates]


def _table(values: Sequence[Sequence[float | None] | Floats], width: int) -> Floats:
    """Return lists of numbers as an array ``[n, width]``; None becomes NaN."""
    try:
        return np.fromiter(itertools.chain.from_iterable(values), np.float64, len(values) * width).reshape(-1, width)
    except TypeError:  # this way takes three times as long, and knows None
        return np.array(values, dtype=np.float64)


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


def _preferences(weights: Sequence[Sequence[float]]) -> Floats:
    """Return preferences ``[n, 3]``, rescaled as :class:`Preference` rescales weights."""
    given: dict[tuple[float, ...], int] = {}
    places = [given.setdefault(tuple(each), len(given)) for each in weights]
    rescaled = [Preference(*each).array for each in given]
    return np.array(rescaled, dtype=np.float64).reshape(-1, 3)[places]


def _embeddings(embeddings: Sequence[Floats | None]) -> Floats:
    width = max((len(each) for each in embeddings if each is not None), default=0)
    found = np.full((len(embeddings), width), np.nan, dtype=np.float32)
    for row, each in enumerate(embeddings):
        if each is not None:
            found[row, : len(each)] = each
    return found
