"""Metrics, read by prometheus_client's own parser."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from aamc_gateway.observe.metrics import Metrics
from aamc_gateway.observe.request_figures import CallFigures, RequestFigures
from prometheus_client.parser import text_string_to_metric_families

from aamc_sdk.interfaces import Usage

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: bytes) -> Samples:
    families = text_string_to_metric_families(text.decode())
    return {(sample.name, frozenset(sample.labels.items())): sample.value for family in families for sample in family.samples}


def value(found: Samples, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def request(**fields: object) -> RequestFigures:
    known: dict[str, object] = {
        "route": "/v1/chat/completions",
        "dialect": "chat",
        "candidate": "cheap",
        "began": 100.0,
        "ended": 100.3,
        "calls": [CallFigures("strong", 100.0, 100.1, error_kind="server"), CallFigures("cheap", 100.1, 100.3)],
        "cost_usd": 0.02,
        "saved_usd": -0.01,
        "first_token_ms": 120.0,
        "usage": Usage(prompt_tokens=100, output_tokens=20, cached_tokens=60, cache_write_tokens=5, reasoning_tokens=7),
    }
    return RequestFigures(request_id="r", **{**known, **fields})  # type: ignore[arg-type]


def test_a_request_is_counted_by_route_model_and_status_with_its_cost_tokens_and_times() -> None:
    metrics = Metrics()
    metrics.started()
    metrics.started()
    metrics.ended(request())
    metrics.decisions.observe(0.0002)
    metrics.fallbacks.labels("strong", "server").inc()
    metrics.refusals.labels("budget").inc()
    metrics.stream_event("keep_alive")
    found = samples(metrics.text())
    assert value(found, "aamc_requests_total", route="/v1/chat/completions", model="cheap", status="200") == 1
    assert value(found, "aamc_in_flight") == 1
    assert value(found, "aamc_cost_usd_total", model="cheap") == 0.02
    assert value(found, "aamc_saved_usd", model="cheap") == -0.01
    tokens = {
        kind: value(found, "aamc_tokens_total", model="cheap", kind=kind) for kind in ("input", "cached_input", "cache_write", "output", "reasoning")
    }
    assert tokens == {"input": 100, "cached_input": 60, "cache_write": 5, "output": 20, "reasoning": 7}
    assert value(found, "aamc_request_seconds_sum", route="/v1/chat/completions") == pytest.approx(0.3)
    assert value(found, "aamc_first_token_seconds_bucket", model="cheap", le="0.25") == 1
    assert value(found, "aamc_first_token_seconds_bucket", model="cheap", le="0.1") == 0
    assert value(found, "aamc_decision_seconds_count") == 1
    assert value(found, "aamc_calls_total", model="strong", result="server") == 1
    assert value(found, "aamc_calls_total", model="cheap", result="ok") == 1
    assert value(found, "aamc_fallbacks_total", model="strong", kind="server") == 1
    assert value(found, "aamc_refused_total", kind="budget") == 1
    assert value(found, "aamc_stream_events_total", kind="keep_alive") == 1


def test_an_unknown_cost_is_counted_as_such_and_not_as_nothing() -> None:
    metrics = Metrics()
    metrics.ended(request(cost_usd=math.nan, saved_usd=math.nan, first_token_ms=math.nan, usage=Usage()))
    found = samples(metrics.text())
    assert value(found, "aamc_unknown_costs_total", model="cheap") == 1
    assert value(found, "aamc_cost_usd_total", model="cheap") == 0


def test_health_and_breakers_are_gauges_with_their_units() -> None:
    found = samples(
        Metrics().text(
            {"learner_lag": 7, "staleness_s": 1.5, "needed_gb": 0.25}, {"breaker_open": {"cheap": 1.0, "strong": 0.0}, "queue_depth": {"cheap": 3.0}}
        )
    )
    assert value(found, "aamc_learner_lag") == 7
    assert value(found, "aamc_staleness_seconds") == 1.5
    assert value(found, "aamc_needed_bytes") == 250e6
    assert value(found, "aamc_breaker_open", model="cheap") == 1
    assert value(found, "aamc_breaker_open", model="strong") == 0
    assert value(found, "aamc_queue_depth", model="cheap") == 3


_WORKER = """
import sys
from aamc_gateway.observe.metrics import Metrics
from aamc_gateway.observe.request_figures import RequestFigures
metrics = Metrics()
for _ in range(int(sys.argv[1])):
    metrics.started()
    metrics.ended(RequestFigures(request_id="r", route="/v1/messages", candidate="cheap", cost_usd=0.5, saved_usd=-0.25))
metrics.started()
if len(sys.argv) > 2:
    sys.stdout.buffer.write(metrics.text())
"""


def test_several_workers_add_up_their_metrics_and_the_dead_hold_none_in_flight(tmp_path: Path) -> None:
    """The parent names the folder before it starts them."""
    parent = f"""
import json, os, subprocess, sys
from aamc_gateway.observe.metrics import FOLDER, worker_ended
os.environ[FOLDER] = {str(tmp_path)!r}
code = {_WORKER!r}
first = subprocess.Popen([sys.executable, "-c", code, "2"])
first.wait()
worker_ended(first.pid)
text = subprocess.run([sys.executable, "-c", code, "3", "print"], capture_output=True, check=True).stdout
print(json.dumps(text.decode()))
"""
    result = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True, check=True)
    found = samples(json.loads(result.stdout).encode())
    assert value(found, "aamc_requests_total", route="/v1/messages", model="cheap", status="200") == 5
    assert value(found, "aamc_cost_usd_total", model="cheap") == 2.5
    assert value(found, "aamc_saved_usd", model="cheap") == -1.25
    assert value(found, "aamc_in_flight") == 1


def test_the_gauges_of_all_workers_that_live_count(tmp_path: Path) -> None:
    worker = """
import sys
import numpy
from aamc_gateway.observe.metrics import Metrics
show, unlogged, staleness_s, is_open = (float(argument) for argument in sys.argv[1:])
gauges = ({"unlogged": numpy.int64(unlogged), "staleness_s": staleness_s}, {"breaker_open": {"cheap": is_open}, "queue_depth": {"cheap": 3.0}})
sys.stdout.buffer.write(Metrics().text(*gauges)) if show else Metrics().share(*gauges)
"""
    parent = f"""
import json, os, subprocess, sys
from aamc_gateway.observe.metrics import FOLDER, worker_ended
os.environ[FOLDER] = {str(tmp_path)!r}
run = lambda *arguments: subprocess.Popen([sys.executable, "-c", {worker!r}, *arguments], stdout=subprocess.PIPE)
living, dead = run("0", "2", "1.5", "1"), run("0", "4", "100", "0")
living.wait(), dead.wait()
worker_ended(dead.pid)
unknown = run("0", "0", "nan", "0")
unknown.wait()
print(json.dumps(run("1", "1", "0.5", "0").communicate()[0].decode()))
"""
    result = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True, check=True)
    found = samples(json.loads(result.stdout).encode())
    assert value(found, "aamc_unlogged") == 3
    assert value(found, "aamc_staleness_seconds") == 1.5
    assert value(found, "aamc_breaker_open", model="cheap") == 1
    assert value(found, "aamc_queue_depth", model="cheap") == 9


def test_costs_and_tokens_are_those_of_the_called_models() -> None:
    metrics = Metrics()
    paid = CallFigures("a", 0.0, 1.0, error_kind="protocol", cost_usd=1.1, usage=Usage(prompt_tokens=10, output_tokens=5))
    metrics.ended(
        RequestFigures(request_id="1", route="/v1", status=502, calls=[paid, CallFigures("b", 1.0, 2.0, error_kind="server")], cost_usd=1.1)
    )
    text = metrics.text().decode()
    assert 'aamc_cost_usd_total{model="a"} 1.1' in text
    assert 'aamc_tokens_total{kind="input",model="a"} 10.0' in text
    assert 'aamc_cost_usd_total{model="b"}' not in text
