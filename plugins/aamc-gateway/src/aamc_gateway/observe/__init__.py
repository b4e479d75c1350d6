"""Observation of the gateway: Prometheus metrics, OpenTelemetry spans, JSON logs and health."""
