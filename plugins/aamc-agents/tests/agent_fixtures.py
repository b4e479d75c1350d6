"""Fixtures for tests of agents, here and in other packages: import them in a ``conftest.py``."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from aamc_agents.state import Activation, TaskState
from aamc_agents.tasks import Task
from aamc_agents.tool import AgentError

from aamc_sdk import Agent, AgentOutput, Services, get_plugin_manager
from aamc_sdk.config import ServingSettings
from aamc_sdk.routing import default_pool
from aamc_sdk.serving import make_services

Make = Callable[..., Agent]


@pytest.fixture(scope="session")
def services() -> Services:
    """Services with every installed plugin and the seed 3."""
    return make_services(default_pool(), get_plugin_manager(), ServingSettings(preset="full", seed=3, device="cpu"))


@pytest.fixture(scope="session")
def make_agent(services: Services) -> Make:
    """Make an agent by its name, with options."""

    def make(name: str, **options: object) -> Agent:
        agent: Agent = services.make("agent", name, options)
        return agent

    return make


def state_of(task: Task | str, *said: str) -> TaskState:
    """Return the state of a task after some outputs."""
    task = Task(id="t", text=task) if isinstance(task, str) else task
    history = tuple(Activation(agent="somebody", output=AgentOutput(content)) for content in said)
    return TaskState(task=task, history=history, steps_left=5)


@pytest.fixture
def say(make_agent: Make) -> Callable[..., str]:
    """Return an agent's output for a task, or for the last of some outputs."""

    def say(name: str, task: Task | str, *said: str, **options: object) -> str:
        return asyncio.run(make_agent(name, **options).execute(state_of(task, *said))).content

    return say


def seconds_on_a_long_text(say: Callable[..., str], agent: str, start: str, repeated: str) -> float:
    """Return an agent's processor time for a long text: while a pattern searches, no timeout can stop it."""
    said = (start + repeated * 20_000)[:20_000]
    began = time.process_time()
    with suppress(AgentError):
        say(agent, "?", said)
    return time.process_time() - began


Reply = tuple[int, dict[str, str], bytes]
"""Status, headers and content."""


@contextmanager
def serving(reply: Callable[[BaseHTTPRequestHandler], Reply]) -> Iterator[str]:
    """Serve a function's replies to requests on a port of this machine; the address is ``HOST:PORT``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, content = reply(self)
            try:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)
            except ConnectionError:  # the client has gone, as one does after a timeout
                self.close_connection = True

        do_POST = do_GET  # the name that the library calls

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 64

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="session")
def serve() -> Callable[..., AbstractContextManager[str]]:
    """Return :func:`serving`."""
    return serving


Answer = Callable[[dict[str, Any]], str | tuple[int, dict[str, Any]]]


class ModelServer:
    """Plays an OpenAI-compatible model: answers by a function of the request's body, and remembers the requests."""

    url: str

    def __init__(self, answer: Answer, delay: float) -> None:
        self.answer, self.delay = answer, delay
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.received: list[Message] = []
        self.headers: dict[str, str] = {}
        self.lock = threading.Lock()

    def reply(self, request: BaseHTTPRequestHandler) -> Reply:
        """Return the reply to a request, and remember the request."""
        body = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        with self.lock:
            self.asked.append(body)
            self.keys.append(request.headers["Authorization"])
            self.received.append(request.headers)
        time.sleep(self.delay)
        said = self.answer(body) if request.path == "/v1/chat/completions" else (404, {})
        status, answer = (200, completion(said, body["model"])) if isinstance(said, str) else said
        return status, {"Content-Type": "application/json", **self.headers}, json.dumps(answer).encode()


def completion(text: str, model: str) -> dict[str, Any]:
    """Return a chat completion as the API documents it."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    return {"id": "c", "object": "chat.completion", "created": 0, "model": model, "choices": [choice], "usage": usage}


@pytest.fixture
def serve_model() -> Iterator[Callable[..., ModelServer]]:
    """Start a real local server that plays a model, with an answer or a function of the request and seconds that it takes."""
    with ExitStack() as started:

        def serve(answer: str | Answer, delay: float = 0.0) -> ModelServer:
            server = ModelServer((lambda body: answer) if isinstance(answer, str) else answer, delay)
            server.url = f"http://{started.enter_context(serving(server.reply))}/v1"
            return server

        yield serve
