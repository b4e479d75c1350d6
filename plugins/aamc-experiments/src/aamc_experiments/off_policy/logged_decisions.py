"""The decisions of a log as arrays, those that estimates can be made from, and as requests in the form that routers scored.

An outcome belongs to the candidate that served, a propensity to the candidate that was chosen. So a decision counts only if both
are the same, or if the log has the chosen candidate's failed call, whose quality is an option: after any other fallback the chosen
candidate has no outcome, and the serving one has no known probability.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_experiments.off_policy.outcome_columns import LoggedColumns, read_outcome_columns
from aamc_sdk.interfaces import Store
from aamc_sdk.types import Candidate, Estimates, Floats, Outcomes, Pool, RoutingRequest

LEFT_OUT = {
    "propensity_unknown": "the probability of the choice is unknown",
    "fallback": "a candidate other than the chosen one served",
    "only_compared": "feedback only compares candidates",
    "not_judged": "no feedback on quality",
}
"""The reasons why a decision does not count; of several reasons the first holds."""
_EXPECTED = ("expected_quality", "expected_cost_usd", "expected_latency_ms", "expected_output_tokens")
_PER_CANDIDATE = ("probabilities", *_EXPECTED, "wait_ms", "in_flight", "pressure", "mask")
COLUMNS = (
    *_PER_CANDIDATE,
    *("spent_usd", "spent_ms"),
    *("time", "preference", "preference_given", "masked_why", "query", "text", "complexity", "tool_use", "categories", "embedding", "estimator"),
)
"""The columns of the log that requests are rebuilt from."""


@attrs.frozen(eq=False)
class LoggedDecisions:
    """The n decisions of a log that count, among all K candidates that any of them had.

    Attributes:
        ids: The ids of the decisions, in log order.
        candidates: The names of the candidates, K of them.
        chosen: The position of the chosen candidate, ``[n]``.
        expected: The expected outcomes, ``[n, K]``; NaN where unknown.
        quality: The qualities, ``[n]``.
        cost_usd: The measured costs, else those expected from prices at that time, ``[n]``; NaN if neither is known.
        latency_ms: The latencies, likewise.
        measured: The number of measured costs and latencies.
        total: The number of decisions in the log, between the times that were asked for.
        end: A time after all of these, in seconds since the epoch.
        failed: The number of decisions that count although their call failed.
        left_out: The number of decisions that do not count, by reason.
        columns: The decisions' ``COLUMNS`` of the log, n rows each.
        category_names: The categories of the column ``categories``.
        pools: The different lists of candidates that the decisions had.
        pool: For each decision, the place of its list in ``pools``, ``[n]``.
    """

    ids: Sequence[str]
    candidates: tuple[str, ...]
    chosen: NDArray[np.intp]
    expected: Outcomes
    quality: Floats
    cost_usd: Floats
    latency_ms: Floats
    measured: Mapping[str, int]
    total: int
    end: float
    failed: int
    left_out: Mapping[str, int]
    columns: Mapping[str, Any]
    category_names: tuple[str, ...]
    pools: Sequence[tuple[str, ...]]
    pool: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def probabilities(self) -> Floats:
        """The probability of each candidate, ``[n, K]``."""
        found: Floats = self.columns["probabilities"]
        return found

    @property
    def spent(self) -> Floats:
        """The cost in USD and the time in milliseconds of each decision itself, ``[n, 2]``."""
        return np.stack([self.columns["spent_usd"], self.columns["spent_ms"]], axis=1)

    @property
    def with_text(self) -> NDArray[np.bool_]:
        """Whether the log keeps the text of each request, ``[n]``; it keeps none of forgotten users."""
        return np.array([bool(text) for text in self.columns["text"]], dtype=bool)

    @property
    def with_embedding(self) -> NDArray[np.bool_]:
        """Whether the log keeps the embedding of each request, or its estimator gives none, ``[n]``; it keeps none of forgotten users."""
        if self.columns["embedding"] is None:
            return np.ones(len(self), dtype=bool)
        known: NDArray[np.bool_] = ~np.isnan(self.columns["embedding"]).all(axis=1)
        embeds = {self.columns["estimator"][row] for row in np.flatnonzero(known)}
        return known | ~np.isin(self.columns["estimator"], list(embeds))

    def places(self, names: Sequence[str]) -> NDArray[np.intp]:
        """Return the positions of candidates among all, ``[len(names)]``."""
        places = {name: place for place, name in enumerate(self.candidates)}
        return np.array([places[name] for name in names], dtype=np.intp)

    def batches(self, size: int, which: NDArray[np.bool_]) -> Iterator[NDArray[np.intp]]:
        """Yield some rows, as many as one request can hold: with the same candidates, and all or none with a given preference."""
        kinds = 2 * self.pool + self.columns["preference_given"]
        for kind in dict.fromkeys(kinds.tolist()):
            rows = np.flatnonzero((kinds == kind) & which)
            for start in range(0, len(rows), size):
                yield rows[start : start + size]


def read_log(store: Store, failure_quality: float | None = 0.0, since: float | None = None, until: float | None = None) -> LoggedDecisions:
    """Return the decisions of a log that count; a failed call without feedback has the quality ``failure_quality``, None for unknown."""
    found = read_outcome_columns(store, COLUMNS, since, until)
    logged = found.outcomes
    quality = np.where(logged.failed & ~logged.judged, np.nan if failure_quality is None else failure_quality, logged.quality)
    reasons = _reasons(found, quality, failure_quality)
    rows = np.flatnonzero(reasons == "")
    pools = [found.pools[place] for place in dict.fromkeys(found.pool[rows].tolist())]
    candidates = tuple(dict.fromkeys(name for names in pools for name in names))
    columns = _taken(found, rows, candidates)
    places = {name: place for place, name in enumerate(candidates)}
    chosen = np.array([places[logged.candidates[row]] for row in rows.tolist()], dtype=np.intp)
    expected = Outcomes(*(columns[f"expected_{figure}"] for figure in ("quality", "cost_usd", "latency_ms")))
    measured = {figure: getattr(logged, figure)[rows] for figure in ("cost_usd", "latency_ms")}
    here = np.arange(len(rows))
    return LoggedDecisions(
        ids=[logged.decision_ids[row] for row in rows.tolist()],
        candidates=candidates,
        chosen=chosen,
        expected=expected,
        quality=quality[rows],
        cost_usd=filled(measured["cost_usd"], expected.cost_usd[here, chosen]),
        latency_ms=filled(measured["latency_ms"], expected.latency_ms[here, chosen]),
        measured={figure: int(np.isfinite(values).sum()) for figure, values in measured.items()},
        total=len(logged),
        end=float(found["time"].max(initial=0.0)) + 2e-6,  # microseconds are the digits of a time in text
        failed=int(logged.failed[rows].sum()),
        left_out={reason: int((reasons == reason).sum()) for reason in LEFT_OUT},
        columns=columns,
        category_names=found.category_names,
        pools=found.pools,
        pool=found.pool[rows],
    )


def _reasons(found: LoggedColumns, quality: Floats, failure_quality: float | None) -> NDArray[np.str_]:
    """Return the reason that each decision is left out, a key of ``LEFT_OUT``, ``[N]``; ``""`` for those that count."""
    logged, unknown = found.outcomes, np.isnan(found["probabilities"]).all(axis=1)
    fallback = logged.fell_back & ((failure_quality is None) | ~logged.failed)
    silent = np.isnan(quality)
    conditions = (unknown, fallback, silent & logged.compared, silent)
    return np.select(conditions, list(LEFT_OUT), default="")


def _taken(logged: LoggedColumns, rows: NDArray[np.intp], candidates: Sequence[str]) -> dict[str, Any]:
    """Return some rows of a log's columns, with candidates in another order or fewer of them."""
    places = np.array([logged.names.index(name) for name in candidates], dtype=np.intp)
    taken: dict[str, Any] = {}
    for name, values in logged.columns.items():
        if name in _PER_CANDIDATE:
            taken[name] = values[rows] if places.tolist() == list(range(len(logged.names))) else values[np.ix_(rows, places)]
        else:
            taken[name] = [values[row] for row in rows.tolist()] if isinstance(values, list) else None if values is None else values[rows]
    return taken


def filled(figures: Floats, otherwise: Floats) -> Floats:
    """Return figures; where one is NaN, the other one."""
    return np.where(np.isnan(figures), otherwise, figures)


def logged_request(log: LoggedDecisions, rows: NDArray[np.intp], pool: Pool) -> RoutingRequest:
    """Return some decisions of a log as a request.

    Args:
        log: The decisions.
        rows: Rows of one of :meth:`LoggedDecisions.batches`.
        pool: Describes the candidates; a candidate that is not in it has only its name.
    """
    names, columns = log.pools[log.pool[rows[0]]], log.columns
    known = {candidate.name: candidate for candidate in pool}
    reasons = [columns["masked_why"][row] for row in rows]
    figures = {name: columns[name][np.ix_(rows, log.places(names))] for name in _PER_CANDIDATE}
    return RoutingRequest(
        queries=[columns["query"][row] for row in rows],
        estimates=_estimates(log, rows),
        pool=Pool(known.get(name, Candidate(name)) for name in names),
        preferences=columns["preference"][rows],
        expected=Outcomes(
            quality=_if_known(figures["expected_quality"]),
            cost_usd=figures["expected_cost_usd"],
            latency_ms=figures["expected_latency_ms"],
            output_tokens=_if_known(figures["expected_output_tokens"]),
        ),
        wait_ms=figures["wait_ms"],
        mask=figures["mask"],
        masked_why={
            why: np.array([[row.get(name) == why for name in names] for row in reasons]) for why in {why for row in reasons for why in row.values()}
        },
        preference_given=bool(columns["preference_given"][rows[0]]),
        in_flight=_if_known(figures["in_flight"], unknown=0.0),
        pressure=_if_known(figures["pressure"], unknown=0.0),
    )


def _if_known(values: Floats, unknown: float = np.nan) -> Floats | None:
    """Return values with ``unknown`` in place of NaN; None if all are NaN."""
    return None if np.isnan(values).all() else np.nan_to_num(values, nan=unknown)


def _estimates(log: LoggedDecisions, rows: NDArray[np.intp]) -> Estimates:
    """Return the estimates of some decisions; embeddings of several estimators cannot be compared and are left out."""
    columns = log.columns
    fingerprints = {columns["estimator"][row] for row in rows}
    categories = columns["categories"][rows]
    given = np.flatnonzero(~np.isnan(categories).all(axis=0))
    fingerprint = fingerprints.pop() if len(fingerprints) == 1 else ""
    return Estimates(
        complexity=columns["complexity"][rows],
        categories=np.nan_to_num(categories[:, given]),
        category_names=tuple(log.category_names[place] for place in given),
        tool_use=columns["tool_use"][rows],
        embedding=_without_padding(columns["embedding"][rows]) if fingerprint and columns["embedding"] is not None else None,
        fingerprint=fingerprint,
    )


def _without_padding(embedding: Floats) -> Floats | None:
    """Return embeddings without the columns in which none of them has a number."""
    known = np.flatnonzero(~np.isnan(embedding).all(axis=0))
    return embedding[:, : known[-1] + 1] if len(known) else None
