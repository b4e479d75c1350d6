"""The stub's server: HTTP/1.1 over asyncio, as little of it as the clients need, so that it costs a benchmark little."""

from __future__ import annotations

import asyncio
import re
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, cast

import attrs
import orjson

from aamc_models.dialects import json_object
from aamc_models.testing.playback import Playback, PlaybackStep, failure, playback, whole
from aamc_models.testing.script import Counts, Script

APIS = {
    "/chat/completions": "chat",
    "/responses": "responses",
    "/completions": "completions",
    "/embeddings": "embeddings",
    "/messages": "messages",
    "/messages/count_tokens": "count_tokens",
}
"""The API of each path below ``/v1``."""

EARLY_S = 0.0006
"""Seconds by which a step may be sent early: event loops round to milliseconds, and waiting again for the rest would keep a core busy."""


@attrs.frozen
class Received:
    """A request that the stub has received.

    Attributes:
        method: The HTTP method.
        path: The path with its query.
        headers: The headers, with names in lower case.
        body: The JSON object; an empty one if the body is something else.
        raw: The body.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    raw: bytes


class StubServer:
    """A server of both dialects: a context manager that runs it in a thread.

    Every model exists. A model without a script gets the default one. Requests of unknown paths below ``/v1`` are answered with a JSON
    object that tells the method, path and content type, so that any API can be passed through. ``GET /stub/counts`` returns the counts,
    ``DELETE /stub/counts`` clears them, and ``PUT /stub/scripts`` takes scripts: ``{"MODEL": {"pace_ms": 20}}``.

    Args:
        scripts: The script of each model.
        default: The script of all other models.
        port: The port; a free one when 0.
        host: The address to listen on.

    Attributes:
        scripts: The scripts; may be changed while the server runs.
        default: The script of all other models.
        requests: The latest 1,000 requests.
        accepted: The number of connections so far.
        active: The number of requests without the end of their answer.
    """

    _loop: asyncio.AbstractEventLoop
    _stopped: asyncio.Event
    _thread: threading.Thread

    def __init__(self, scripts: Mapping[str, Script] | None = None, *, default: Script | None = None, port: int = 0, host: str = "127.0.0.1") -> None:
        self.scripts = dict(scripts or {})
        self.default = default or Script()
        self.port, self._host = port, host
        self.requests: deque[Received] = deque(maxlen=1000)
        self.accepted = self.active = 0
        self._counts: defaultdict[str, Counts] = defaultdict(Counts)
        self._changed = threading.Condition()
        self._connections: set[_Connection] = set()

    @property
    def url(self) -> str:
        """The base URL, without ``/v1``."""
        return f"http://{self._host}:{self.port}"

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._connections)

    def script(self, model: str) -> Script:
        """Return a model's script."""
        return self.scripts.get(model, self.default)

    def counts(self, model: str) -> Counts:
        """Return the counts of a model; they go on counting."""
        return self._counts[model]

    def all_counts(self) -> dict[str, Any]:
        """Return the document of ``GET /stub/counts``."""
        models = {name: counts.as_dict(self.script(name)) for name, counts in self._counts.copy().items()}
        return {"models": models, "connections": self.connections, "accepted": self.accepted, "active": self.active}

    def clear(self) -> None:
        """Forget the counts and the requests."""
        self._counts.clear()
        self.requests.clear()
        self.accepted = 0

    def wait(self, condition: Callable[[StubServer], object], timeout_s: float = 60.0) -> bool:
        """Wait until a condition holds; return whether it does. It is tested whenever a request, an answer or a connection begins or ends."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(condition(self)), timeout_s)

    def notify(self) -> None:
        """Wake those that wait for a condition."""
        with self._changed:
            self._changed.notify_all()

    def __enter__(self) -> StubServer:
        """Start the server in a thread."""
        started: Future[None] = Future()

        async def main() -> None:
            try:
                server = await self.start()
            except Exception as error:  # such as that of a port in use, or of one above 65535
                started.set_exception(error)
                return
            started.set_result(None)
            await self._stopped.wait()
            await self.stop(server)

        self._thread = threading.Thread(target=lambda: asyncio.run(main()), name="stub", daemon=True)
        self._thread.start()
        started.result()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server and close its connections."""
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    async def start(self) -> asyncio.Server:
        """Start the server on the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        server = await self._loop.create_server(lambda: _Connection(self), self._host, self.port, backlog=4096)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def stop(self, server: asyncio.Server) -> None:
        """Stop listening and close all connections."""
        server.close()
        for connection in list(self._connections):
            connection.abort()
        await asyncio.sleep(0)

    def answer(self, received: Received) -> Playback:
        """Return the answer to a request."""
        path = received.path.partition("?")[0]
        if path.startswith("/stub/"):
            return self._control(received, path)
        self.requests.append(received)
        inner = path.removeprefix("/v1")
        api = APIS.get(inner, "")
        if api and received.method == "POST":
            if not received.body.get("model"):
                return failure(api, 400, "model: the body must be a JSON object that names a model")
            model = str(received.body["model"])
            return playback(api, received.body, len(received.raw), self.script(model), self._counts[model])
        if received.method == "GET" and inner == "/models":
            models = [{"id": name, "object": "model", "type": "model", "created": 1, "owned_by": "stub"} for name in self.scripts]
            return _json({"object": "list", "data": models, "has_more": False})
        kind = received.headers.get("content-type", "").partition(";")[0]
        return _json({"object": "stub", "id": "stub-1", "method": received.method, "path": received.path, "content_type": kind})

    def _control(self, received: Received, path: str) -> Playback:
        if path == "/stub/counts" and received.method == "DELETE":
            self.clear()
        elif path == "/stub/scripts" and received.method == "PUT":
            self.scripts.update({name: Script(**options) for name, options in received.body.items()})
        return _json(self.all_counts())


def _json(document: object) -> Playback:
    return Playback([PlaybackStep(0.0, whole(200, orjson.dumps(document)))])


class _Connection(asyncio.Protocol):
    """One client: reads a request, plays its answer, then reads the next."""

    _transport: asyncio.Transport

    def __init__(self, stub: StubServer) -> None:
        self._stub = stub
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._head: tuple[str, str, dict[str, str]] | None = None
        self._body_at = 0
        self._playing: Playback | None = None
        self._next = 0
        self._began = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._stub.accepted += 1
        self._stub._connections.add(self)
        self._stub.notify()

    def connection_lost(self, error: Exception | None) -> None:
        self._stub._connections.discard(self)
        if self._playing is not None:
            if self._timer is not None:
                self._timer.cancel()
            self._playing.counts.cancelled += 1
            self._finish()
        self._stub.notify()

    def abort(self) -> None:
        self._transport.abort()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        if self._playing is not None and self._timer is None:
            self._play()

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._read()

    def _read(self) -> None:
        """Answer the next request if it is whole, and the last one is answered."""
        if self._playing is not None:
            return
        if self._head is None:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            first, *lines = self._received[:end].decode("latin-1").split("\r\n")
            method, path, _ = first.split(" ")
            pairs = (line.partition(":") for line in lines)
            self._head = method, path, {name.strip().lower(): value.strip() for name, _, value in pairs}
            self._body_at = end + 4
            if "expect" in self._head[2]:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        raw = self._body(self._head[2])
        if raw is None:
            return
        (method, path, headers), self._head = self._head, None
        self._playing = self._stub.answer(Received(method, path, headers, json_object(raw) or {}, raw))
        self._next, self._began = 0, self._loop.time()
        self._stub.active += 1
        self._stub.notify()
        self._play()

    def _body(self, headers: Mapping[str, str]) -> bytes | None:
        """Return the body and remove it from the received bytes; None if it is not complete."""
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return self._chunked_body()
        end = self._body_at + int(headers.get("content-length", 0))
        if len(self._received) < end:
            return None
        raw = bytes(self._received[self._body_at : end])
        del self._received[:end]
        return raw

    def _chunked_body(self) -> bytes | None:
        at = self._body_at
        parts: list[bytes] = []
        while (line := self._received.find(b"\r\n", at)) >= 0:
            size = int(re.split(rb"[; ]", bytes(self._received[at:line]))[0], 16)
            at = line + 2 + size + 2
            if len(self._received) < at:
                return None
            if size == 0:
                del self._received[:at]
                return b"".join(parts)
            parts.append(bytes(self._received[line + 2 : at - 2]))
        return None

    def _play(self) -> None:
        """Send the due bytes, then wait for the next time, the client, or nothing."""
        self._timer = None
        answer = self._playing
        if answer is None:
            return
        due: list[bytes] = []
        now = self._loop.time() - self._began
        while self._next < len(answer.steps) and not self._full:
            step = answer.steps[self._next]
            if step.at_s > now + EARLY_S:
                self._timer = self._loop.call_at(self._began + step.at_s, self._play)
                break
            self._next += 1
            answer.counts.output_tokens += step.output_tokens
            if step.billed:
                answer.counts.bill(answer.script, answer.prompt_tokens)
            if len(answer.steps) > 64:  # a long stream is written step by step, so that a slow reader holds it up
                self._transport.write(step.data)
            else:
                due.append(step.data)
        if due:
            self._transport.write(b"".join(due))
        if self._next == len(answer.steps) and answer.end != "hang":
            answer.counts.served += answer.served
            self._finish()
            if answer.end == "close":
                self._transport.close()
            else:
                self._loop.call_soon(self._read)

    def _finish(self) -> None:
        self._playing = None
        self._stub.active -= 1
        self._stub.notify()
