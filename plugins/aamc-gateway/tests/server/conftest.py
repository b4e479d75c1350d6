"""A gateway in a thread of the test, with real sockets, in front of the stub."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import attrs
import pytest
import uvicorn.server
import yaml
from aamc_gateway.access.keys import add_key
from aamc_gateway.server.gateway import Gateway
from aamc_gateway.server.http.app import GatewayApp
from aamc_gateway.server.processes.launch import Launch
from aamc_gateway.server.processes.worker import Server, uvicorn_config
from aamc_gateway.testing import stub_candidate
from aamc_models.testing import Script, StubServer
from impatient_uvicorn import IMPATIENT

from aamc_sdk.types import Experience

Run = Callable[..., "Running"]


@attrs.frozen
class Answer:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The JSON of a stream's events."""
        lines = [line[5:].strip() for line in self.body.split(b"\n") if line.startswith(b"data:")]
        return [json.loads(line) for line in lines if line != b"[DONE]"]


@attrs.frozen
class Running:
    """A running gateway."""

    port: int
    app: GatewayApp
    loop: asyncio.AbstractEventLoop

    @property
    def gateway(self) -> Gateway:
        return self.app.gateway

    def ask(self, path: str, body: Any = None, *, method: str = "POST", **headers: str) -> Answer:
        """Send a request and return the whole answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            connection.request(method, path, raw, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def chat(
        self, text: str = "What is the capital of France?", *, model: str = "aamc/auto", headers: Mapping[str, str] | None = None, **fields: Any
    ) -> Answer:
        body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
        return self.ask("/v1/chat/completions", body, **(headers or {}))

    def log(self) -> Experience:
        """Return the log, with everything that was served so far."""
        deadline = time.monotonic() + 30
        while not self.gateway.commits.idle:
            assert time.monotonic() < deadline, "the log is not written"
            time.sleep(0.005)
        return self.gateway.controller.store.experience()


def key(running: Running, name: str, **fields: Any) -> dict[str, str]:
    """Return the header of a new key."""
    made = asyncio.run_coroutine_threadsafe(add_key(running.gateway.shared, name=name, **fields), running.loop)
    return {"authorization": f"Bearer {made.result(30)[1]}"}


@contextmanager
def running(launch: Launch) -> Iterator[Running]:
    async def make() -> Gateway:
        return launch.again().gateway()

    settings = launch.settings()
    app = GatewayApp(launch.gateway(), make)
    server = Server(uvicorn_config(app, settings))
    listener = socket.create_server(("127.0.0.1", 0))
    loop = asyncio.new_event_loop()
    started = threading.Event()

    async def serve() -> None:
        try:
            await app.start()
            serving = asyncio.ensure_future(server.serve([listener]))
            while not server.started:
                await asyncio.sleep(0.005)
        finally:
            started.set()
        await serving
        await app.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    with patch.object(uvicorn.server, "asyncio", IMPATIENT):
        thread.start()
        assert started.wait(30)
        assert server.started, "the gateway cannot start"
        try:
            yield Running(listener.getsockname()[1], app, loop)
        finally:
            server.should_exit = True
            thread.join(30)
            loop.close()
            listener.close()
    assert not thread.is_alive()


@pytest.fixture
def stub() -> Iterator[StubServer]:
    with StubServer() as server:
        yield server


@pytest.fixture
def serve(tmp_path: Path, stub: StubServer) -> Iterator[Run]:
    """Start a gateway whose candidates are models of the stub: ``serve(good=Script(), other=Script())``."""
    with ExitStack() as stack:

        def start(settings: Mapping[str, Any] | None = None, fields: Mapping[str, Mapping[str, Any]] | None = None, **scripts: Script) -> Running:
            stub.scripts.update(scripts)
            candidates = [stub_candidate(name, f"{stub.url}/v1", retries=0, **(fields or {}).get(name, {})) for name in scripts or {"good": 0}]
            file = tmp_path / "serve.yaml"
            file.write_text(yaml.safe_dump({"pool": {"candidates": candidates}, "gateway": dict(settings or {})}), encoding="utf-8")
            return stack.enter_context(running(Launch(config=str(file), store=f"sqlite:{tmp_path / 'log.db'}")))

        yield start
