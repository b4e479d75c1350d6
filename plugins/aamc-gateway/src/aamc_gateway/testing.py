"""The gateway as a process of its own, for tests and benchmarks: started, signalled, killed, and waited for."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

START_S = 120.0
"""The longest time that a gateway may take to start."""


_PORTS = range(10_240, 22_000)
"""Ports below those that the system gives to outgoing connections."""
_places = itertools.count(os.getpid() * 151)
"""Positions in them that this process tries: two processes that test at the same time must not find the same port before one of them listens."""


def free_port() -> int:
    """Return a port of this machine that no program listens on, and that this process has not returned lately."""
    while True:
        port = _PORTS[next(_places) % len(_PORTS)]
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port


def stub_candidate(
    name: str, base_url: str, *, input_price: float = 1.0, output_price: float = 2.0, request_price: float = 0.0, **fields: Any
) -> dict[str, Any]:
    """Return a candidate of a pool file whose endpoint is a stub.

    Args:
        name: The candidate's name, and the model's at the stub.
        base_url: The stub's base URL, with ``/v1``.
        input_price: USD per million prompt tokens; that of cached ones is a tenth of it, that of written ones 1.25 times it.
        output_price: USD per million output tokens.
        request_price: USD per request.
        **fields: Further options of the endpoint, such as ``provider`` or ``retries``, and fields of the candidate, such as ``parameters``.
    """
    prices = {"input": input_price, "output": output_price, "cached_input": input_price / 10, "cache_write": input_price * 1.25}
    prices |= {"request": request_price} if request_price else {}
    candidate: dict[str, Any] = {
        key: fields.pop(key) for key in ("description", "abilities", "context_window", "parameters", "latency") if key in fields
    }
    return {"name": name, "prices": prices, **candidate, "endpoint": {"provider": "openai", "base_url": base_url, "model": name, **fields}}


class GatewayProcess:
    """``aamc serve`` in a process of its own: a context manager that starts it, waits until it is ready, and ends it.

    Args:
        folder: The working folder, which also gets the pool file, the configuration and the output.
        candidates: The candidates of the pool, as the pool file has them; without them the server starts without a pool.
        router: The router; by default the one that always prefers the most expensive model. Options with a name need ``settings``.
        store: The URL of the log, relative to the folder.
        options: Further arguments of ``aamc serve``.
        settings: The section ``gateway:`` of a configuration file.
        environment: Further environment variables.

    Attributes:
        url: The base URL, without ``/v1``.
        process: The process.
    """

    process: subprocess.Popen[bytes]

    def __init__(
        self,
        folder: Path,
        candidates: Sequence[Mapping[str, Any]] = (),
        *,
        router: str | Mapping[str, Any] = "llm-only",
        store: str = "sqlite:state.db",
        options: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {**os.environ, **(environment or {})}
        self.arguments = ["--port", str(self.port), "--store", store]
        if candidates:
            pool = folder / "pool.yaml"
            pool.write_text(yaml.safe_dump({"candidates": [dict(candidate) for candidate in candidates]}, sort_keys=False), encoding="utf-8")
            self.arguments += ["--pool", str(pool)]
        if settings is None:
            self.arguments += ["--router", str(router)]
        else:
            file = folder / "gateway.yaml"
            file.write_text(yaml.safe_dump({"router": router, "gateway": dict(settings)}), encoding="utf-8")
            self.arguments += ["--config", str(file)]
        self.arguments += options

    @property
    def output(self) -> str:
        """The output of the process so far."""
        return (self.folder / "serve.log").read_text(encoding="utf-8", errors="replace")

    def start(self) -> None:
        """Start the process and wait until ``/readyz`` answers 200.

        Raises:
            RuntimeError: It ended, or was not ready in time; with its output.
        """
        self.process = self._launched()
        end = time.monotonic() + START_S
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise RuntimeError(f"aamc serve did not get ready:\n{self.output}")
            time.sleep(0.02)

    def _launched(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", "from aamc_sdk.cli import main; main()", "serve", *self.arguments]
        with (self.folder / "serve.log").open("ab") as log:
            return subprocess.Popen(command, cwd=self.folder, env=self._environment, stdout=log, stderr=subprocess.STDOUT)  # noqa: S603

    def ready(self) -> bool:
        """Return whether ``/readyz`` answers 200."""
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as answer:  # noqa: S310  # an own address
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def stop(self, timeout_s: float = 60.0) -> int:
        """Ask the process to end, and return its exit status; kill it if it does not."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """Kill the process."""
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> GatewayProcess:
        """Start the process."""
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End the process."""
        self.stop()
