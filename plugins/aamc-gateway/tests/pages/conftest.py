"""Fixtures of these tests: a gateway in a process of its own, before stubs that answer differently."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from aamc_gateway.testing import GatewayProcess, stub_candidate
from aamc_models.testing import Script, StubServer
from forked_gateway import ForkedGateway
from pages.browser import CHROMIUM, Browser

from aamc_sdk.log import open_store
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.types import Experience

MODELS = {"small": 1.0, "middle": 2.0, "large": 10.0}
"""The stub's models, with their prices in USD per million tokens."""
ADMIN = "admin-key-of-this-test-0123456789"
Serve = Callable[..., GatewayProcess]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None and not os.environ.get("AAMC_REQUIRE_SERVICES"):
        pytest.skip("Chromium is missing; install it with: apt-get install chromium")
    started = Browser(tmp_path_factory.mktemp("browser"))
    yield started
    started.close()


@pytest.fixture
def stub() -> Iterator[StubServer]:
    with StubServer({name: Script(text=f"Answer of {name}.") for name in MODELS}) as started:
        yield started


@pytest.fixture
def candidates(stub: StubServer) -> list[dict[str, Any]]:
    return [stub_candidate(name, f"{stub.url}/v1", input_price=price, retries=0) for name, price in MODELS.items()]


@pytest.fixture
def serve(candidates: list[dict[str, Any]], tmp_path: Path) -> Iterator[Serve]:
    """Start a gateway with the section ``gateway`` of a configuration file, other keys of that file, or a whole file."""
    with ExitStack() as started:

        def start(
            settings: Mapping[str, Any] | None = None, *, keys: bool = False, file: Mapping[str, Any] | None = None, **other: Any
        ) -> GatewayProcess:
            folder = tmp_path / "gateway"
            folder.mkdir()
            content = dict(file or {"router": {"name": "thompson"}, **other})
            if settings is not None:
                content["gateway"] = dict(settings)
            (folder / "config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
            made = ForkedGateway(folder, environment={"AAMC_ADMIN_KEY": ADMIN} if keys else {})
            made.arguments = ["--port", str(made.port), "--config", "config.yaml", "--store", "sqlite:state.db?store_text=true"]
            if file is None:
                (folder / "pool.yaml").write_text(yaml.safe_dump({"candidates": candidates}), encoding="utf-8")
                made.arguments += ["--pool", "pool.yaml"]
            return started.enter_context(made)

        yield start


class Answer:
    """An HTTP answer."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.body = status, body
        self.headers = {name.lower(): value for name, value in headers.items()}

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The data of the server-sent events that hold JSON."""
        lines = [line[6:] for line in self.body.decode().split("\n") if line.startswith("data: {")]
        return [json.loads(line) for line in lines]


def http(url: str, body: Any = None, **headers: str) -> Answer:
    """Send a request: POST with a body, else GET."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json", **given})  # an own address
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # likewise
            return Answer(answer.status, dict(answer.headers), answer.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, dict(error.headers), error.read())


def chat(model: str = "aamc/auto", text: str = "What is the capital of France?", **fields: Any) -> dict[str, Any]:
    """Return a request of chat completions."""
    return {"model": model, "messages": [{"role": "user", "content": text}], **fields}


def logged(gateway: GatewayProcess) -> Experience:
    """Return the whole log of a gateway that has ended."""
    store = open_store(f"sqlite:{gateway.folder / 'state.db'}", get_plugin_manager())
    try:
        return store.experience()
    finally:
        store.close()
