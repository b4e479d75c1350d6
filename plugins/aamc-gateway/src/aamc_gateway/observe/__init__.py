"""Observation of the gateway: Prometheus metrics, OpenTelemetry spans, JSON logs and health.

Nothing is imported before it is used: prometheus_client looks for the folder of several workers when it is imported, and OpenTelemetry is optional.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aamc_sdk.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from aamc_gateway.observe.metrics import Metrics, worker_ended
    from aamc_gateway.observe.observer import Observer
    from aamc_gateway.observe.request_figures import CallFigures, RequestFigures
    from aamc_gateway.observe.request_log import configure_logs
    from aamc_gateway.observe.settings import LogSettings, ObserveSettings, TracingSettings
    from aamc_gateway.observe.workers import prepare_workers

__all__ = [
    "CallFigures",
    "LogSettings",
    "Metrics",
    "ObserveSettings",
    "Observer",
    "RequestFigures",
    "TracingSettings",
    "configure_logs",
    "prepare_workers",
    "worker_ended",
]
__getattr__, __dir__ = lazy_exports(__name__, __all__, ("settings", "request_figures", "workers", "request_log", "observer", "metrics"))
