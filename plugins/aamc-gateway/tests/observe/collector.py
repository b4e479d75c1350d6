"""A double of an OpenTelemetry collector: it takes spans by OTLP over HTTP and keeps them."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector:
    """A context manager that runs the collector in a thread.

    Attributes:
        raw: The bodies of all exports, decompressed.
        headers: The headers of the last export.
    """

    def __init__(self) -> None:
        self.raw: list[bytes] = []
        self.headers: dict[str, str] = {}
        self._changed = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                with collector._changed:
                    collector.headers = {name.lower(): value for name, value in self.headers.items()}
                    collector.raw.append(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
                    collector._changed.notify_all()
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}/v1/traces"

    def __enter__(self) -> Collector:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def spans(self) -> list[tuple[str, Any]]:
        """Return all spans, each with the URL of its conventions."""
        requests = [ExportTraceServiceRequest.FromString(body) for body in self.raw]
        scopes = [scope for request in requests for resource in request.resource_spans for scope in resource.scope_spans]
        return [(scope.schema_url, span) for scope in scopes for span in scope.spans]

    def wait(self, count: int) -> list[tuple[str, Any]]:
        """Wait for spans, and return them."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.spans()) >= count, 60)
        return self.spans()


def attributes(span: Any) -> dict[str, Any]:
    """Return the attributes of a span."""
    found = {}
    for pair in span.attributes:
        kind = pair.value.WhichOneof("value")
        value = getattr(pair.value, kind)
        found[pair.key] = [one.string_value for one in value.values] if kind == "array_value" else value
    return found
