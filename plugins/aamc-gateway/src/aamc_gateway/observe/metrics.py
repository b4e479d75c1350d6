"""Prometheus metrics.

A child of each metric is bound once for its labels. What a request counts is summed up first, and added to counters and gauges when they are read:
each addition takes a microsecond and more, and a request has a dozen. With several workers, prometheus_client adds up files that each of them maps
into memory, in the folder that the environment variable ``FOLDER`` names, so there it is added at once.
"""

from __future__ import annotations

import json
import math
import operator
import os
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from aamc_gateway.observe.request_figures import RequestFigures
from aamc_sdk.interfaces import Usage

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable that names the folder in which workers add up their metrics."""
PRESENT = {
    "breaker_open": "1 while the circuit breakers of a candidate's servers are open.",
    "calls_in_flight": "Calls of a candidate in progress.",
    "queue_depth": "Calls beyond the concurrency of a candidate's endpoint, which wait for their turn there.",
}
"""Gauges of candidates."""
TRIAL_ENDED = "trial_ended"
"""The gauge that is 1 once a canary's trial has ended."""
_SUMMED = ("calls_in_flight", "is_learner", "queue_depth", "queued", "unlogged")
"""The gauges that are added up over the workers; of the others the maximum counts."""
Gauges = Mapping[str, Mapping[str, float]]
"""The present values of gauges by name and candidate; those without a candidate have the candidate ``""``."""
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_DECISION_SECONDS = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 1.0)
_TOKENS = ("input", "output", "cached_input", "cache_write", "reasoning")
_UNITS = {"_s": ("_seconds", 1.0), "_ms": ("_seconds", 1e-3), "_gb": ("_bytes", 1e9)}
"""Prometheus' base units of the units at the ends of names, and their factors."""


def worker_ended(pid: int) -> None:
    """Clear the gauges of a worker that has ended, such as its requests in flight; called in the parent process."""
    if FOLDER in os.environ:
        mark_process_dead(pid)  # type: ignore[no-untyped-call]  # the library has no types there
        _file_of(pid).unlink(missing_ok=True)


class Metrics:
    """The gateway's metrics; one object for the life of a worker, so that counters go on when its configuration is reloaded."""

    def __init__(self) -> None:
        self._registry = None if FOLDER in os.environ else CollectorRegistry()
        made: Any = {"registry": self._registry}
        self.requests = Counter("aamc_requests", "Requests by route, answering candidate and HTTP status.", ["route", "model", "status"], **made)
        self.latency = Histogram("aamc_request_seconds", "Time until the whole answer.", ["route"], buckets=_SECONDS, **made)
        self.first_token = Histogram(
            "aamc_first_token_seconds", "Time of a call until the first content of its stream.", ["model"], buckets=_SECONDS, **made
        )
        self.decisions = Histogram("aamc_decision_seconds", "Time of a decision.", buckets=_DECISION_SECONDS, **made)
        self.calls = Counter("aamc_calls", "Calls of candidates by the kind of their error, or ok.", ["model", "result"], **made)
        self.call_latency = Histogram("aamc_call_seconds", "Time of a call of a candidate.", ["model"], buckets=_SECONDS, **made)
        self.cost = Counter("aamc_cost_usd", "Cost in USD of calls and decisions, by candidate.", ["model"], **made)
        self.unknown_costs = Counter("aamc_unknown_costs", "Answers whose cost is unknown.", ["model"], **made)
        summed: Any = {**made, "multiprocess_mode": "sum"}
        self.saved = Gauge("aamc_saved_usd", "Cost in USD saved against the most expensive candidate.", ["model"], **summed)
        self.tokens = Counter(
            "aamc_tokens", "Tokens; cached_input and cache_write are part of input, reasoning of output.", ["model", "kind"], **made
        )
        self.fallbacks = Counter("aamc_fallbacks", "Failed calls after which another candidate may be called.", ["model", "kind"], **made)
        self.refusals = Counter("aamc_refused", "Requests that were refused, by kind.", ["kind"], **made)
        self.stream_events = Counter("aamc_stream_events", "Keep-alives, cut streams, and clients that left.", ["kind"], **made)
        self.cache_hits = Counter("aamc_cache_hits", "Answers from the exact cache.", **made)
        live: Any = {**made, "multiprocess_mode": "livesum"}
        self.in_flight = Gauge("aamc_in_flight", "Requests in progress.", **live)
        self._sums: defaultdict[tuple[Any, ...], float] = defaultdict(float)  # by metric and labels
        self._lock = threading.Lock()
        self._child = cache(_child)

    def started(self) -> None:
        """Count a request as in flight; :meth:`ended` must follow."""
        self._count(self.in_flight)

    def ended(self, figures: RequestFigures) -> None:
        """Record a request that has ended: status, latency, cost, tokens and calls."""
        child, candidate = self._child, figures.candidate
        child(self.latency, figures.route).observe(max(0.0, figures.ended - figures.began))
        with self._lock:
            sums = self._sums
            sums[(self.in_flight,)] -= 1
            sums[self.requests, figures.route, candidate, str(figures.status)] += 1
            paid_usd = 0.0
            for call in figures.calls:
                sums[self.calls, call.candidate, call.error_kind or "ok"] += 1
                if (seconds := call.ended - call.began) >= 0:  # not NaN
                    child(self.call_latency, call.candidate).observe(seconds)
                if call.cost_usd > 0:  # likewise
                    paid_usd += call.cost_usd
                    sums[self.cost, call.candidate] += call.cost_usd
                if call.usage is not None:
                    self._add_tokens(call.candidate, call.usage)
            if figures.cached:
                sums[(self.cache_hits,)] += 1
            if candidate:
                self._add_answer(figures, paid_usd)
        if self._registry is None:
            self.flush()

    def answered(self, route: str, status: int) -> None:
        """Count a request that asked no model, or was refused before it could."""
        self._count(self.requests, route, "", str(status))

    def _count(self, *metric_and_labels: Any) -> None:
        with self._lock:
            self._sums[metric_and_labels] += 1
        if self._registry is None:
            self.flush()

    def _add_answer(self, figures: RequestFigures, paid_usd: float) -> None:
        sums, candidate = self._sums, figures.candidate
        is_unknown, saved_usd = math.isnan(figures.cost_usd), figures.saved_usd
        sums[self.unknown_costs, candidate] += is_unknown
        # The rest is that of the decision, or of an orchestration's steps. What is unknown adds 0, so that there is a series of each candidate.
        sums[self.cost, candidate] += 0.0 if is_unknown else max(0.0, figures.cost_usd - paid_usd)
        sums[self.saved, candidate] += 0.0 if math.isnan(saved_usd) else saved_usd
        first_token = self._child(self.first_token, candidate)
        if not math.isnan(figures.first_token_ms):
            first_token.observe(figures.first_token_ms / 1000)
        if all(call.usage is None for call in figures.calls):  # such as an orchestration's
            self._add_tokens(candidate, figures.usage)

    def _add_tokens(self, candidate: str, usage: Usage) -> None:
        counts = (usage.prompt_tokens, usage.output_tokens, usage.cached_tokens, usage.cache_write_tokens, usage.reasoning_tokens)
        for kind, tokens in zip(_TOKENS, counts, strict=True):
            self._sums[self.tokens, candidate, kind] += tokens or 0

    def flush(self) -> None:
        """Add the sums to counters and gauges."""
        with self._lock:
            while self._sums:
                key, amount = self._sums.popitem()
                self._child(*key).inc(amount)

    def stream_event(self, kind: str) -> None:
        """Record an event in the life of streams: ``"keep_alive"``, ``"cut"`` (no proper end) or ``"client_left"``."""
        self.stream_events.labels(kind).inc()

    def text(self, health: Mapping[str, float] | None = None, present: Gauges | None = None) -> bytes:
        """Return all metrics in Prometheus' text format. Reading the files of many workers takes milliseconds: call it on a worker thread.

        Args:
            health: Plain numbers by name, see :meth:`aamc_sdk.MetaController.health`; a name's end ``_s`` or ``_ms`` is its unit.
            present: What is true of candidates in this worker now, by the names in ``PRESENT`` and by candidate.
        """
        self.flush()
        gauges = _gauges(health or {}, present or {})
        registry = self._registry
        if registry is None:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library has no types there
            gauges = _total([gauges, *_of_other_workers()])
        own = CollectorRegistry()
        own.register(_Present(gauges))
        return generate_latest(registry) + generate_latest(own)

    def share(self, health: Mapping[str, float], present: Gauges) -> None:
        """Let the :meth:`text` of other workers count the gauges of this one; see there for the arguments."""
        if self._registry is None:
            file = _file_of(os.getpid())
            new = file.with_suffix(".new")
            new.write_text(json.dumps(_gauges(health, present)))
            new.replace(file)


def _child(metric: Any, *labels: str) -> Any:
    return metric.labels(*labels) if labels else metric


def _gauges(health: Mapping[str, float], present: Gauges) -> Gauges:
    return {**present, **{name: {"": float(value)} for name, value in sorted(health.items())}}  # a store may have NumPy's numbers


def _file_of(pid: int) -> Path:
    return Path(os.environ[FOLDER], f"gauges_{pid}.json")


def _of_other_workers() -> Iterator[Gauges]:
    own = _file_of(os.getpid())
    for file in own.parent.glob("gauges_*.json"):
        if file != own:
            with suppress(FileNotFoundError):  # the worker has just ended
                yield json.loads(file.read_text())


def _total(workers: Iterable[Gauges]) -> Gauges:
    """Return the sums or maxima of the gauges of all workers; unknown values (NaN) do not count."""
    found: dict[str, dict[str, float]] = {}
    for gauges in workers:
        for name, values in gauges.items():
            combined: Any = operator.add if name in _SUMMED else max
            total = found.setdefault(name, {})
            for model, value in values.items():
                known = total.get(model, math.nan)
                total[model] = value if math.isnan(known) else known if math.isnan(value) else combined(known, value)
    return found


class _Present:
    """Gauges of the present state."""

    def __init__(self, gauges: Gauges) -> None:
        self._gauges = gauges

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Yield the gauges."""
        for name, values in self._gauges.items():
            if name in PRESENT:
                gauge = GaugeMetricFamily(f"aamc_{name}", PRESENT[name], labels=["model"])
                for model, value in values.items():
                    gauge.add_metric([model], value)
                yield gauge
            else:
                end = next((end for end in _UNITS if name.endswith(end)), "")
                unit, factor = _UNITS.get(end, ("", 1.0))
                meaning = "1 once the canary's trial has ended." if name == TRIAL_ENDED else "See MetaController.health."
                yield GaugeMetricFamily(f"aamc_{name.removesuffix(end)}{unit}", meaning, value=factor * values[""])
