"""Spans, exported to a double of a collector."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from aamc_gateway.observe.metrics import Metrics
from aamc_gateway.observe.observer import Observer
from aamc_gateway.observe.request_figures import CallFigures, RequestFigures
from aamc_gateway.server.settings import ObserveSettings, TracingSettings
from aamc_gateway.testing import free_port
from observe.collector import Collector, attributes
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes

from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import Usage

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


def request(**fields: Any) -> RequestFigures:
    usage = Usage(prompt_tokens=10, output_tokens=5, cached_tokens=4, reasoning_tokens=2)
    calls = [
        CallFigures("strong", 100.01, 100.1, provider="anthropic", upstream_model="claude", error_kind="server", status=529),
        CallFigures("cheap", 100.1, 100.3, provider="openai", upstream_model="gpt", usage=usage, finish_reason="stop", streamed=True),
    ]
    known: dict[str, Any] = {"route": "/v1/chat/completions", "dialect": "chat", "candidate": "cheap", "decision_id": "d1", "calls": calls}
    times = {"began": 100.0, "ended": 100.31, "decision_began": 100.0, "decision_ended": 100.01, "first_token_ms": 120.0}
    return RequestFigures(request_id="r1", **{**known, **times, "usage": usage, "cost_usd": 0.01, **fields})


def traced(collector: Collector, *requests: RequestFigures, **settings: Any) -> list[Any]:
    from aamc_gateway.observe.tracing import Tracing

    tracing = Tracing(TracingSettings(endpoint=collector.endpoint, **{"sample_ratio": 1.0, **settings}))
    for request in requests:
        tracing.ended(request)
    tracing.close()
    return [span for _, span in collector.spans()]


def test_a_request_has_spans_of_its_decision_and_of_each_call(collector: Collector) -> None:
    spans = {span.name: span for span in traced(collector, request())}
    assert set(spans) == {"POST /v1/chat/completions", "aamc.decision", "chat claude", "chat gpt"}
    root = spans["POST /v1/chat/completions"]
    assert {span.parent_span_id for span in spans.values() if span is not root} == {root.span_id}
    assert {span.trace_id for span in spans.values()} == {root.trace_id}
    assert (root.start_time_unix_nano, root.end_time_unix_nano) == (100_000_000_000, 100_310_000_000)
    found = attributes(root)
    assert (found["http.route"], found["http.response.status_code"]) == ("/v1/chat/completions", 200)
    assert (found["aamc.decision.id"], found["aamc.model"], found["aamc.cost_usd"]) == ("d1", "cheap", 0.01)
    assert collector.spans()[0][0] == "https://opentelemetry.io/schemas/1.44.0"


def test_calls_follow_the_genai_conventions(collector: Collector) -> None:
    spans = {span.name: span for span in traced(collector, request())}
    failed, answered = attributes(spans["chat claude"]), attributes(spans["chat gpt"])
    assert failed == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude",
        "aamc.model": "strong",
        "error.type": "server",
        "http.response.status_code": 529,
    }
    assert spans["chat claude"].status.code == 2
    assert answered == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt",
        "gen_ai.request.stream": True,
        "aamc.model": "cheap",
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.reasoning.output_tokens": 2,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.response.time_to_first_chunk": 0.12,
    }
    known = {value for name, value in vars(gen_ai_attributes).items() if name.startswith("GEN_AI_")}
    assert {name for name in answered if name.startswith("gen_ai.")} <= known


def test_a_call_of_another_api_is_named_by_its_route_without_ids(collector: Collector) -> None:
    call = CallFigures("cheap", 100.1, 100.3, provider="openai", upstream_model="gpt")
    spans = traced(collector, request(route="/v1/batches/{rest:path}", dialect="/batches/b_1/cancel?by=anna", calls=[call]))
    assert {span.name for span in spans} == {"POST /v1/batches/{rest:path}", "aamc.decision", "/v1/batches/{rest:path} gpt"}
    assert not any(b"anna" in body for body in collector.raw)


def test_the_caller_s_trace_goes_on_and_its_sampling_counts(collector: Collector) -> None:
    requests = [
        request(traceparent=f"00-{TRACE}-{SPAN}-01", tracestate="ot=th:8"),
        request(traceparent=f"00-{TRACE}-{SPAN}-00"),
        request(traceparent="garbage"),
    ]
    spans = traced(collector, *requests, sample_ratio=0.0)
    assert len(spans) == 4
    assert {(span.trace_id.hex(), span.trace_state) for span in spans} == {(TRACE, "ot=th:8")}
    assert next(span for span in spans if span.name.startswith("POST")).parent_span_id.hex() == SPAN


def test_a_share_of_the_requests_is_sampled(collector: Collector) -> None:
    spans = traced(collector, *(request(calls=[]) for _ in range(400)), sample_ratio=0.25)
    assert 50 <= sum(span.name.startswith("POST") for span in spans) <= 150


def test_headers_of_the_export_may_come_from_the_environment(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLECTOR_TOKEN", "secret-token")
    traced(collector, request(), headers={"x-token": "$COLLECTOR_TOKEN", "x-team": "routing"})
    assert (collector.headers["x-token"], collector.headers["x-team"]) == ("secret-token", "routing")


@pytest.mark.parametrize("address", ["hangs", "away"])
def test_a_collector_that_is_away_does_not_hold_the_end_of_the_process(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    from aamc_gateway.observe import tracing

    monkeypatch.setattr(tracing, "CLOSE_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1] if address == "hangs" else free_port()
        spans = tracing.Tracing(TracingSettings(endpoint=f"http://127.0.0.1:{port}/v1/traces", sample_ratio=1.0))
        for _ in range(600):  # more than one export takes
            spans.ended(request())
        began = time.monotonic()
        spans.close()
        assert time.monotonic() - began < 5


def test_opentelemetry_is_imported_only_when_it_is_on() -> None:
    code = """
import sys
from aamc_gateway.observe.metrics import Metrics
from aamc_gateway.observe.observer import Observer
from aamc_gateway.server.settings import ObserveSettings
Observer(ObserveSettings(), Metrics())
assert not any(name.startswith("opentelemetry") for name in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_opentelemetry_tracing_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aamc_gateway.observe.tracing", None)
    with pytest.raises(ConfigError, match=r"pip install 'aamc-gateway\[tracing\]'"):
        Observer(ObserveSettings(tracing=TracingSettings(enabled=True)), Metrics())
