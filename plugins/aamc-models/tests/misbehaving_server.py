"""A real server whose every connection follows a script, to misbehave as no HTTP library lets one."""

from __future__ import annotations

import json
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

Script = Callable[["Upstream", socket.socket, dict[str, Any]], None]
ANSWER = {
    "id": "c",
    "object": "chat.completion",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "8"}}],
    "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
}


class Upstream:
    """Serves each request by the next of its scripts, the last one for all further ones.

    Attributes:
        asked: The bodies of the requests.
        heads: The heads of the requests, in lower case.
        left: Set when a client has closed the connection during :func:`hang`.
        release: Lets the scripts that wait go on.
    """

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.asked: list[Any] = []
        self.heads: list[str] = []
        self.left, self.release, self.hanging = threading.Event(), threading.Event(), threading.Event()
        self.lock = threading.Lock()
        self.url = self.address = ""

    def next_script(self, head: str, body: Any) -> Script:
        with self.lock:
            self.heads.append(head)
            self.asked.append(body)
            return self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]


@contextmanager
def serving(*scripts: Script) -> Iterator[Upstream]:
    """Serve the scripts on a port of this machine."""
    server = Upstream(*scripts)
    threads: list[threading.Thread] = []
    connections: list[socket.socket] = []

    def converse(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while (request := _request(connection)) is not None:
                head, body = request
                server.next_script(head, body)(server, connection, {"head": head, "body": body})

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections.append(connection)
                threads.append(threading.Thread(target=converse, args=(connection,), daemon=True))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        server.address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.url = f"{server.address}/v1"
        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield server
        finally:
            server.release.set()
            listener.shutdown(socket.SHUT_RDWR)
            for connection in connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            for thread in (accepting, *threads):
                thread.join(10)


def _request(connection: socket.socket) -> tuple[str, Any] | None:
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            return None
        data += part
    raw, _, body = data.partition(b"\r\n\r\n")
    head = raw.decode().lower()
    length = next((int(line.split(":")[1]) for line in head.splitlines() if line.startswith("content-length")), 0)
    while len(body) < length:
        body += connection.recv(65536)
    try:
        return head, json.loads(body) if body else None
    except ValueError:
        return head, body


def reply(body: object = ANSWER, status: int = 200, kind: str = "application/json", **headers: str) -> Script:
    """Answer; underscores in the names of headers are hyphens."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = "\r\n".join([f"HTTP/1.1 {status} X", f"content-type: {kind}", f"content-length: {len(content)}", *lines, "", ""])

    def script(server: Upstream, connection: socket.socket, request: dict[str, Any]) -> None:
        connection.sendall(head.encode() + content)

    return script


def begin(kind: str = "application/json", length: int | None = 1000) -> Script:
    """Send the head of an answer."""
    size = "transfer-encoding: chunked" if length is None else f"content-length: {length}"

    def script(server: Upstream, connection: socket.socket, request: dict[str, Any]) -> None:
        connection.sendall(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n{size}\r\n\r\n".encode())

    return script


def send(*pieces: bytes, chunked: bool = True) -> Script:
    """Send pieces of the body, each as one chunk."""

    def script(server: Upstream, connection: socket.socket, request: dict[str, Any]) -> None:
        for piece in pieces:
            connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)

    return script


def hang(server: Upstream, connection: socket.socket, request: dict[str, Any]) -> None:
    """Wait until the client leaves, or the test ends."""
    server.hanging.set()
    while not server.release.is_set():
        if select.select([connection], [], [], 0.02)[0] and not connection.recv(1, socket.MSG_PEEK):
            server.left.set()
            raise ConnectionError


def cut(server: Upstream, connection: socket.socket, request: dict[str, Any]) -> None:
    """Close the connection."""
    raise ConnectionError


def reset(server: Upstream, connection: socket.socket, request: dict[str, Any]) -> None:
    """Close the connection with a TCP reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise ConnectionError


def then(*scripts: Script) -> Script:
    """Follow several scripts for one request."""

    def script(server: Upstream, connection: socket.socket, request: dict[str, Any]) -> None:
        for each in scripts:
            each(server, connection, request)

    return script


def event(content: str | None = None, **more: Any) -> bytes:
    """Return an event of a streamed chat completion."""
    choice = {"index": 0, "delta": {} if content is None else {"content": content}, "finish_reason": more.pop("finish_reason", None)}
    return b"data: " + json.dumps({"id": "c", "object": "chat.completion.chunk", "choices": [choice], **more}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
END = event(finish_reason="stop", usage=ANSWER["usage"])


def events(*pieces: bytes) -> Script:
    """Answer with a whole stream."""
    return then(begin("text/event-stream", None), send(*pieces), send(b""))
