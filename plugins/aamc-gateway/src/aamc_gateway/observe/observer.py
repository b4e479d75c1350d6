"""The observer of requests that have ended: it updates metrics, spans and the request log."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from aamc_gateway.observe.request_figures import RequestFigures
from aamc_gateway.observe.request_log import log_request
from aamc_gateway.requests.bodies import header
from aamc_sdk.errors import ConfigError

if TYPE_CHECKING:
    from aamc_gateway.observe.metrics import Metrics
    from aamc_gateway.observe.tracing import Tracing
    from aamc_gateway.server.settings import ObserveSettings, TracingSettings


class Observer:
    """Tells metrics, spans and the request log of each request."""

    def __init__(self, settings: ObserveSettings, metrics: Metrics) -> None:
        self._metrics = metrics
        self._tracing = _tracing(settings.tracing) if settings.tracing.enabled else None
        self._logs = settings.logs.format == "json" and settings.logs.requests

    def trace(self, figures: RequestFigures, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Note the trace that a request belongs to, by its W3C headers."""
        if self._tracing is not None:
            figures.traceparent, figures.tracestate = (header(headers, name) for name in (b"traceparent", b"tracestate"))

    def ended(self, figures: RequestFigures) -> None:
        """Record a request that has ended."""
        self._metrics.ended(figures)
        if self._tracing is not None:
            self._tracing.ended(figures)
        if self._logs:
            log_request(figures)

    async def close(self) -> None:
        """Export the spans that are left."""
        if self._tracing is not None:
            await asyncio.to_thread(self._tracing.close)


def _tracing(settings: TracingSettings) -> Tracing:
    """Return the maker of spans; OpenTelemetry is imported only here."""
    try:
        from aamc_gateway.observe.tracing import Tracing

        return Tracing(settings)
    except ImportError as error:
        raise ConfigError(f"observe.tracing needs OpenTelemetry: {error}; pip install 'aamc-gateway[tracing]', or set enabled: false") from error
