"""The settings of observation: ``gateway.observe`` in a configuration file."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from aamc_sdk.config import option
from aamc_sdk.errors import ConfigError


@attrs.frozen(kw_only=True)
class TracingSettings:
    """OpenTelemetry spans; needs ``aamc-gateway[tracing]``."""

    enabled: bool = option(False, "Whether spans are exported.")
    endpoint: str = option("http://127.0.0.1:4318/v1/traces", "URL of the collector, which takes OTLP over HTTP.")
    headers: Mapping[str, str] = option({}, "Headers of the exports; a value that begins with $ names an environment variable.")
    sample_ratio: float = option(0.01, "Share of the requests that are traced; those whose caller traces them always are.", at_least=0, at_most=1)
    service_name: str = option("aamc-gateway", "Name of this service in the spans.")

    def __attrs_post_init__(self) -> None:
        if not self.endpoint.startswith(("http://", "https://")):
            raise ConfigError(f"endpoint must be a URL such as http://127.0.0.1:4318/v1/traces, not {self.endpoint!r}")


@attrs.frozen(kw_only=True)
class LogSettings:
    """Logs on standard error."""

    format: str = option("text", "Form of the lines.", choices=["text", "json"])
    requests: bool = option(True, "Whether each request gets a line; only with format json.")


@attrs.frozen(kw_only=True)
class ObserveSettings:
    """The options of metrics, traces and log lines."""

    metrics: bool = option(True, "Whether /metrics serves Prometheus metrics.")
    metrics_public: bool = option(False, "Whether /metrics needs no admin key.")
    tracing: TracingSettings = attrs.field(factory=TracingSettings, metadata={"meaning": "OpenTelemetry spans."})
    logs: LogSettings = attrs.field(factory=LogSettings, metadata={"meaning": "Logs."})
