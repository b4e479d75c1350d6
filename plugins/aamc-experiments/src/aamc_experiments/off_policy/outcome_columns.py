"""The optional columns of logged outcomes, made from the contents of decisions.

msgspec decodes a content without building and validating an object of the types for each decision.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from operator import attrgetter
from typing import Any

import attrs
import msgspec
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.errors import DataError
from aamc_sdk.interfaces import Store
from aamc_sdk.log import DecisionContent, OutcomeJoin, RowStore, decode_entry, outcome_fields, read_batches
from aamc_sdk.messages import check_known
from aamc_sdk.types import Floats, LoggedOutcomes, Preference, is_figure

OUTCOME_COLUMNS: Mapping[str, str] = {
    "time": "Time of the decision, in seconds since the epoch, [N].",
    "tenant": "Tenant, N of them; None without one.",
    "router": "Name of the router, N of them.",
    "text": "Text of the request, N of them; empty where the log keeps none.",
    "query": "The query, N of them.",
    "preference": "Weights of quality, cost and latency, [N, 3].",
    "preference_given": "Whether the caller chose the preference, [N].",
    "probabilities": "Probability of each candidate, [N, K]; 0 for candidates that the decision did not have, NaN where it is not known.",
    "spent_usd": "Cost of the decision itself in USD, [N].",
    "spent_ms": "Time of the decision itself in milliseconds, beyond computing, [N].",
    "expected_quality": "Expected quality of each candidate, [N, K].",
    "expected_cost_usd": "Expected cost in USD, [N, K].",
    "expected_latency_ms": "Expected latency in milliseconds, [N, K].",
    "expected_output_tokens": "Expected tokens of the answer, [N, K].",
    "wait_ms": "Waiting time of each candidate in milliseconds, [N, K].",
    "in_flight": "Requests in flight at each candidate, [N, K]; NaN where they were not recorded.",
    "pressure": "How scarce each candidate was beyond its wait, [N, K]; NaN where it was not recorded.",
    "mask": "Whether a candidate was allowed, [N, K]; False for candidates that the decision did not have.",
    "masked_why": "Why candidates were not allowed, by name, N mappings.",
    "complexity": "Estimated complexity, from 0 to 1, [N].",
    "tool_use": "Estimated probability that tools are needed, [N].",
    "categories": "Estimated probability of each category, [N, C]; NaN for categories that the estimates did not have.",
    "embedding": "Embedding of the text, float32 [N, D]; NaN beyond the length of a shorter one, None if no decision has one.",
    "estimator": "Fingerprint of the estimates, N of them.",
}
"""The columns that :func:`read_outcome_columns` returns on request, with their meaning; NaN where a number is unknown."""

_FIELDS = {field.name: field for field in msgspec.structs.fields(DecisionContent)}
_SHARED: Mapping[str, msgspec.json.Decoder[Any]] = {
    name: msgspec.json.Decoder(_FIELDS[name].type) for name in ("query", "estimates", "candidates", "expected", "wait_ms")
}
"""Parts that many decisions have in common; equal ones are decoded once."""
_ANY: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])
_PER_CANDIDATE = {
    "expected_quality": "expected.quality",
    "expected_cost_usd": "expected.cost_usd",
    "expected_latency_ms": "expected.latency_ms",
    "expected_output_tokens": "expected.output_tokens",
    "wait_ms": "wait_ms",
    "in_flight": "in_flight",
    "pressure": "pressure",
}
_LISTS = {
    "tenant": "query.tenant",
    "router": "decision.router",
    "text": "query.text",
    "query": "query",
    "masked_why": "masked_why",
    "estimator": "estimates.fingerprint",
}
_PLACES = {
    **_PER_CANDIDATE,
    **_LISTS,
    "preference": "decision.preference",
    "preference_given": "preference_given",
    "probabilities": "decision.probabilities",
    "spent_usd": "decision.notes.spent_usd",
    "spent_ms": "decision.notes.spent_ms",
    "mask": "masked_why",
    "complexity": "estimates.complexity",
    "tool_use": "estimates.tool_use",
    "categories": "estimates.categories",
}
"""The place of a column's values in the content; those of ``time`` and ``embedding`` are kept beside it."""


class _SpentFields(msgspec.Struct, gc=False):
    """The notes of a decision that columns are made of; a router's own note of that name may be of any type."""

    spent_usd: Any = 0.0
    spent_ms: Any = 0.0


class _DrawFields(msgspec.Struct, gc=False):
    """The fields of a decision that columns are made of: decoding these alone takes less time."""

    candidate: str
    propensity: float | None
    preference: tuple[float, float, float]
    probabilities: dict[str, float] = {}
    router: str = ""
    notes: _SpentFields = msgspec.field(default_factory=_SpentFields)


@cache
def _decoder(parts: frozenset[str]) -> msgspec.json.Decoder[Any]:
    """Return a decoder of some parts of a content, which skips the others, and leaves the shared ones undecoded."""
    kinds = dict.fromkeys(_SHARED, msgspec.Raw) | {"decision": _DrawFields}
    fields = [(name, kinds.get(name, _FIELDS[name].type), _FIELDS[name].default) for name in parts]
    return msgspec.json.Decoder(msgspec.defstruct("Content", fields, kw_only=True, gc=False))


@attrs.frozen(eq=False)
class LoggedColumns:
    """The requested columns of a log's N decisions, in log order, with their outcomes.

    Attributes:
        outcomes: The decisions with the outcomes of their chosen candidates.
        names: Candidate names of the ``[N, K]`` columns.
        category_names: The categories of all estimates, C of them.
        pools: The different lists of candidates that the decisions had.
        pool: For each decision, the place of its list in ``pools``, ``[N]``.
        columns: The columns by name, see ``OUTCOME_COLUMNS``.
    """

    outcomes: LoggedOutcomes
    names: tuple[str, ...]
    category_names: tuple[str, ...]
    pools: Sequence[tuple[str, ...]]
    pool: NDArray[np.intp]
    columns: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        """Return a requested column.

        Raises:
            DataError: It was not requested.
        """
        if name not in self.columns:
            raise DataError(f"the column {name!r} was not requested: read_outcome_columns(store, [{name!r}, ...])")
        return self.columns[name]


def read_outcome_columns(store: Store, columns: Iterable[str], since: float | None = None, until: float | None = None) -> LoggedColumns:
    """Return columns of a log's decisions, with their outcomes.

    Args:
        store: The log.
        columns: Names of ``OUTCOME_COLUMNS``.
        since: Time of the first decisions, in seconds since the epoch; None for all.
        until: Time before which decisions were made; None for all.

    Raises:
        DataError: A column is unknown, or a time is not a number.
    """
    reader = OutcomeColumns(columns)
    if isinstance(store, RowStore):
        return reader.joined(store.outcomes(since, until, reader))
    found = OutcomeJoin(since, until, reader)
    found.add_entries(outcome_fields(row) for batch in read_batches(store) for row in batch.rows)
    return reader.joined(found.outcomes())


class OutcomeColumns:
    """Turns the contents of decisions into the requested columns.

    Args:
        asked: Requested names of ``OUTCOME_COLUMNS``.

    Raises:
        DataError: A name is unknown.
    """

    def __init__(self, asked: Iterable[str]) -> None:
        self.asked = checked_columns(asked)
        self.needs_embeddings = "embedding" in self.asked
        self._read = frozenset({"candidates", *(_PLACES[name].partition(".")[0] for name in self.asked if name in _PLACES)})
        self._names: dict[str, int] = {}
        self._category_names: dict[str, int] = {}
        self._pools: dict[tuple[str, ...], int] = {}
        self._pool: list[int] = []
        self._parts: dict[str, list[Any]] = {name: [] for name in self.asked}

    def add(self, ids: Sequence[str], times: Sequence[float], contents: Sequence[str | bytes], embeddings: Sequence[bytes | None]) -> None:
        """Add the next decisions: as many as fit into the processor's cache, since they are read several times."""
        read = self._decoded(ids, contents)
        numbers = [self._pools.setdefault(candidates, len(self._pools)) for candidates in read["candidates"]]
        self._pool += numbers
        for names in self._pools:
            for name in names:
                self._names.setdefault(name, len(self._names))
        pool = np.array(numbers, dtype=np.intp)
        read |= {"time": times, "embedding": embeddings}
        for name, parts in self._parts.items():
            part, _, attribute = _PLACES.get(name, name).partition(".")
            values = list(map(attrgetter(attribute), read[part])) if attribute else read[part]
            parts.append(self._part(name, values, read, pool))

    def _decoded(self, ids: Sequence[str], contents: Sequence[str | bytes]) -> dict[str, Sequence[Any]]:
        """Return the parts of contents, by name."""
        decoder = _decoder(self._read)
        try:
            whole = list(map(decoder.decode, contents))
        except (msgspec.MsgspecError, UnicodeEncodeError):  # one has half a surrogate pair, or is damaged
            whole = [_whole(decoder, content, name) for name, content in zip(ids, contents, strict=True)]
        found: dict[str, Sequence[Any]] = {part: list(map(attrgetter(part), whole)) for part in self._read}
        return found | {part: _decoded_once(_SHARED[part], found[part], ids) for part in self._read & _SHARED.keys()}

    def joined(self, outcomes: LoggedOutcomes) -> LoggedColumns:
        """Return the columns of all decisions that were added, with their outcomes."""
        self.add((), (), (), ())  # so that there is something to join
        return LoggedColumns(
            outcomes=outcomes,
            names=tuple(self._names),
            category_names=tuple(self._category_names),
            pools=tuple(self._pools),
            pool=np.array(self._pool, dtype=np.intp),
            columns={name: self._joined(name, parts) for name, parts in self._parts.items()},
        )

    def _part(self, name: str, values: Sequence[Any], read: Mapping[str, Sequence[Any]], pool: NDArray[np.intp]) -> Any:
        """Return a column of some decisions, from its values in the parts of their contents."""
        if name in _LISTS:
            return values
        if name in _PER_CANDIDATE:
            return self._by_candidate(values, pool)
        if name == "probabilities":
            return self._by_candidate(list(map(_probabilities, read["decision"], read["candidates"])), pool)
        if name == "mask":
            return self._mask(values, pool)
        if name == "preference":
            return _preferences(values)
        if name == "categories":
            return self._categories([each.category_names for each in read["estimates"]], values)
        if name == "embedding":
            return _embeddings([None if each is None else np.frombuffer(each, "<f4") for each in values])
        if name in ("spent_usd", "spent_ms"):
            values = [value if is_figure(value) else 0.0 for value in values]
        return np.array(values, dtype=bool if name == "preference_given" else np.float64)

    def _by_candidate(self, values: Sequence[Any], pool: NDArray[np.intp]) -> Floats:
        """Return values of each decision's candidates as ``[n, K]``; NaN for other candidates, and where the values are None."""
        table = np.full((len(values), len(self._names)), np.nan)
        known = np.array([value is not None for value in values], dtype=bool)
        for number, names in enumerate(self._pools):
            rows = np.flatnonzero((pool == number) & known)
            if len(rows):
                given = values if len(rows) == len(values) else [values[row] for row in rows.tolist()]
                places = np.array([self._names[name] for name in names], dtype=np.intp)
                table[np.ix_(rows, places)] = np.array(given, dtype=np.float64)  # None becomes NaN
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
            return [value for part in parts for value in part]
        if parts[0].ndim == 1:
            return np.concatenate(parts)
        width = max(part.shape[1] for part in parts)
        if name == "embedding" and not width:
            return None
        whole = np.concatenate([_widened(part, width, False if name == "mask" else np.nan) for part in parts])
        if name == "probabilities":
            lacking = np.isnan(whole)
            whole[lacking & ~lacking.all(axis=1, keepdims=True)] = 0.0
        return whole


def _widened(part: NDArray[Any], width: int, missing: float) -> NDArray[Any]:
    """Return a part ``[n, k]`` as ``[n, width]``; most have that width, and ``np.pad`` takes long."""
    return part if part.shape[1] == width else np.pad(part, ((0, 0), (0, width - part.shape[1])), constant_values=missing)


def _whole(decoder: msgspec.json.Decoder[Any], content: str | bytes, name: str) -> Any:
    """Decode a content as a decoder of :func:`_decoder` does, also with half a surrogate pair."""
    fields = decode_entry(content, _ANY, name)
    shared = {part: msgspec.Raw(json.dumps(fields[part]).encode()) for part in _SHARED.keys() & fields.keys()}
    return msgspec.convert(fields | shared, decoder.type)


def _decoded_once(decoder: msgspec.json.Decoder[Any], parts: Sequence[msgspec.Raw], ids: Sequence[str]) -> list[Any]:
    """Return decoded parts; equal ones are decoded once."""
    if parts and parts.count(parts[0]) == len(parts):
        return [decode_entry(bytes(parts[0]), decoder, ids[0])] * len(parts)
    texts = list(map(bytes, parts))
    known = {text: decode_entry(text, decoder, name) for text, name in dict(zip(texts, ids, strict=True)).items()}
    return list(map(known.__getitem__, texts))


def _probabilities(drawn: _DrawFields, candidates: tuple[str, ...]) -> list[float] | None:
    """Return the probability of each candidate of a decision; None where it is not known."""
    if drawn.propensity is None:
        return None
    if not drawn.probabilities:
        return [float(name == drawn.candidate) for name in candidates] if drawn.propensity == 1 else None
    if tuple(drawn.probabilities) == candidates:  # as most routers give them
        return list(drawn.probabilities.values())
    return [drawn.probabilities.get(name, 0.0) for name in candidates]


def checked_columns(asked: Iterable[str]) -> tuple[str, ...]:
    """Return the requested columns, each once.

    Raises:
        DataError: They are not a list of names, or a name is unknown.
    """
    if isinstance(asked, str) or not isinstance(asked, Iterable):
        raise DataError(f"columns must be a list of names such as ['text'], not {asked!r:.80}")
    names = tuple(dict.fromkeys(asked))
    check_known(names, OUTCOME_COLUMNS, "logged outcomes have no column", DataError, "they have")
    return names


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
