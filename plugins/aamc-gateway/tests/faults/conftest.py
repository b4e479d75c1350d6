"""Fixtures of these tests: gateways whose upstream misbehaves."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aamc_gateway.testing import GatewayProcess, stub_candidate
from aamc_models.testing import StubServer
from click.testing import CliRunner
from clients.fixtures import call, node, sdk_api, streamed
from forked_gateway import ForkedGateway

from aamc_sdk.cli import aamc

__all__ = ["call", "node", "sdk_api", "streamed"]

BRISK = {"connect_timeout_s": 2.0, "first_token_timeout_s": 1.0, "idle_timeout_s": 1.0, "timeout_seconds": 4.0, "retries": 0}
"""Options of an endpoint with which a fault is noticed soon."""
PATIENT = {"first_token_timeout_s": 100.0, "idle_timeout_s": 100.0, "timeout_seconds": 100.0, "retries": 0}
"""Options of an endpoint that a busy machine does not break; the default."""

Serve = Callable[..., GatewayProcess]


@pytest.fixture
def stub() -> Iterator[StubServer]:
    with StubServer() as started:
        yield started


@pytest.fixture
def serve(stub: StubServer, tmp_path: Path) -> Iterator[Serve]:
    """Start a gateway before the stub: the first model is the most expensive one, which the router prefers."""
    with ExitStack() as started:
        number = iter(range(100))

        def start(models: Mapping[str, Mapping[str, Any]], **options: Any) -> GatewayProcess:
            folder = tmp_path / f"gateway-{next(number)}"
            folder.mkdir()
            prices = [2.0 ** (len(models) - i) for i in range(len(models))]
            candidates = [
                stub_candidate(name, **{"base_url": f"{stub.url}/v1", "input_price": price, "output_price": 2 * price, **PATIENT, **fields})
                for (name, fields), price in zip(models.items(), prices, strict=True)
            ]
            return started.enter_context(ForkedGateway(folder, candidates, **options))

        yield start


def chat(model: str = "aamc/auto", text: str = "What is the capital of France?", **fields: Any) -> dict[str, Any]:
    """Return a request of chat completions."""
    return {"model": model, "messages": [{"role": "user", "content": text}], **fields}


Answer = tuple[int, Mapping[str, str], bytes]


async def ask(session: aiohttp.ClientSession, url: str, body: Any, path: str = "chat/completions", **options: Any) -> Answer:
    """Send a request, and return status, headers and body."""
    headers = {"content-type": "application/json", **options.pop("headers", {})}
    content = io.BytesIO(json.dumps(body).encode())
    async with session.post(f"{url}/v1/{path}", data=content, headers=headers, **options) as answer:
        return answer.status, {name.lower(): value for name, value in answer.headers.items()}, await answer.read()


def ask_all(url: str, bodies: list[Any], **options: Any) -> list[Answer]:
    """Send requests at the same time."""

    async def main() -> list[Answer]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(60)) as session:
            return list(await asyncio.gather(*(ask(session, url, body, **options) for body in bodies)))

    return asyncio.run(main())


def entries(gateway: GatewayProcess, kind: str) -> list[dict[str, Any]]:
    """Return the entries of a kind in the log of a gateway, which is stopped first, so that all of them are there."""
    if gateway.process.poll() is None:
        gateway.stop()
    exported = gateway.folder / "export.jsonl"
    done = CliRunner().invoke(aamc, ["feedback", "export", "--store", f"sqlite:{gateway.folder / 'state.db'}", str(exported)])
    assert done.exit_code == 0, done.output
    lines = exported.read_text(encoding="utf-8").splitlines()
    return [entry[kind] for entry in map(json.loads, lines) if kind in entry]
