"""OpenTelemetry spans by the GenAI semantic conventions, version 1.44 (in development: names may change).

A span of the request holds one of the decision and one of each call. They are made when the request has ended, from the times that were noted, so
a request that is not sampled costs nothing. No span holds prompts, answers, keys, users or sessions.
"""

from __future__ import annotations

import logging
import math
import os
import random
import threading
from collections.abc import Mapping
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from aamc_gateway.observe.request_figures import CallFigures, RequestFigures
from aamc_gateway.server.settings import TracingSettings
from aamc_sdk.interfaces import Usage

logger = logging.getLogger(__name__)
SCHEMA = "https://opentelemetry.io/schemas/1.44.0"
"""The version of the conventions."""
CLOSE_S = 5.0
"""Maximum time in seconds that the end of the process waits for the collector: the SDK would wait for up to half a minute."""
_PARENT = TraceContextTextMapPropagator()
"""Reads the span that a request belongs to from its W3C headers."""
_OPERATIONS = {"chat": "chat", "messages": "chat", "responses": "chat", "completions": "text_completion", "embeddings": "embeddings"}


class Tracing:
    """Makes and exports spans."""

    def __init__(self, settings: TracingSettings) -> None:
        self._ratio = settings.sample_ratio
        self._provider = TracerProvider(resource=Resource.create({"service.name": settings.service_name}), shutdown_on_exit=False)
        headers = {name: os.environ.get(value[1:], "") if value.startswith("$") else value for name, value in settings.headers.items()}
        self._exporter: SpanExporter = OTLPSpanExporter(endpoint=settings.endpoint, headers=headers)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer: Tracer = self._provider.get_tracer("aamc_gateway", schema_url=SCHEMA)

    def ended(self, figures: RequestFigures) -> None:
        """Export the spans of a request that has ended, if it is sampled."""
        context = _PARENT.extract({"traceparent": figures.traceparent, "tracestate": figures.tracestate})
        parent = get_current_span(context).get_span_context()
        sampled = parent.trace_flags.sampled if parent.is_valid else random.random() < self._ratio  # noqa: S311  # a sample, no secret
        if not sampled:
            return
        attributes = _plain(
            {
                "http.request.method": "POST",
                "http.route": figures.route,
                "http.response.status_code": figures.status,
                "aamc.request.id": figures.request_id,
                "aamc.decision.id": figures.decision_id,
                "aamc.model": figures.candidate,
                "aamc.cost_usd": figures.cost_usd,
                "aamc.cache_hit": figures.cached,
                "error.type": figures.error_kind,
            }
        )
        root = self._tracer.start_span(f"POST {figures.route}", context, SpanKind.SERVER, attributes, start_time=_nanoseconds(figures.began))
        inside = set_span_in_context(root)
        if not math.isnan(figures.decision_ended):
            decision = self._tracer.start_span("aamc.decision", inside, SpanKind.INTERNAL, start_time=_nanoseconds(figures.decision_began))
            decision.end(_nanoseconds(figures.decision_ended))
        for call in figures.calls:
            self._call(call, figures, inside)
        if figures.status >= 500 or (figures.error_kind and figures.status == 200):
            root.set_status(Status(StatusCode.ERROR))
        root.end(_nanoseconds(figures.ended))

    def close(self) -> None:
        """Export the remaining spans; those that the collector does not take within ``CLOSE_S`` are lost."""
        ending = threading.Thread(target=self._provider.shutdown, name="aamc-spans", daemon=True)
        ending.start()
        ending.join(CLOSE_S)
        if ending.is_alive():
            logger.warning("the last spans were not exported within %g s; is the collector of gateway.observe.tracing.endpoint away?", CLOSE_S)
            self._exporter.shutdown()

    def _call(self, call: CallFigures, figures: RequestFigures, context: Any) -> None:
        operation = _OPERATIONS.get(figures.dialect, figures.route)
        model = call.upstream_model or call.candidate
        attributes: dict[str, Any] = {"gen_ai.operation.name": operation, "gen_ai.provider.name": call.provider, "gen_ai.request.model": model}
        attributes |= {"aamc.model": call.candidate, "error.type": call.error_kind, "http.response.status_code": call.status}
        attributes["gen_ai.request.stream"] = call.streamed or None
        usage = call.usage or Usage()
        attributes |= {"gen_ai.usage.input_tokens": usage.prompt_tokens, "gen_ai.usage.output_tokens": usage.output_tokens}
        attributes["gen_ai.usage.cache_read.input_tokens"] = usage.cached_tokens
        attributes["gen_ai.usage.cache_creation.input_tokens"] = usage.cache_write_tokens
        attributes["gen_ai.usage.reasoning.output_tokens"] = usage.reasoning_tokens
        attributes["gen_ai.response.finish_reasons"] = [call.finish_reason] if call.finish_reason else None
        if call is figures.calls[-1] and not call.error_kind:  # of a stream
            attributes["gen_ai.response.time_to_first_chunk"] = figures.first_token_ms / 1000
        span = self._tracer.start_span(f"{operation} {model}", context, SpanKind.CLIENT, _plain(attributes), start_time=_nanoseconds(call.began))
        if call.error_kind:
            span.set_status(Status(StatusCode.ERROR, call.error_kind))
        span.end(_nanoseconds(figures.ended if math.isnan(call.ended) else call.ended))


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that are known."""
    return {name: value for name, value in attributes.items() if value not in (None, "") and value == value}  # NaN is unequal to itself


def _nanoseconds(when: float) -> int:
    return int(1e9 * when)
