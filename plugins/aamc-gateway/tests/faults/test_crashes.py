"""A gateway that is killed under load has lost nothing that it acknowledged."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aamc_models.testing import Script, StubServer
from faults.conftest import ask, ask_all, chat, entries

WORKERS = 16


async def load(url: str, acknowledged: list[str], answered: dict[str, float], enough: asyncio.Event, worker: int) -> None:
    """Ask and judge until the server is gone; note what it acknowledged."""
    async with aiohttp.ClientSession() as session:
        with suppress(aiohttp.ClientError, ConnectionError):
            for number in range(100_000):
                status, headers, _ = await ask(session, url, chat(text=f"Question {number} of {worker}"))
                if status != 200:
                    continue
                decision = headers["x-aamc-decision-id"]
                answered[decision] = float(headers["x-aamc-cost-usd"])
                async with session.post(f"{url}/v1/feedback", json={"decision_id": decision, "quality": 1.0}) as answer:
                    if answer.status == 200 and (await answer.json())["new"]:
                        acknowledged.append(decision)
                if len(acknowledged) >= 300:
                    enough.set()


@pytest.mark.parametrize("kills", [3])
def test_every_acknowledged_feedback_is_there_once_after_kills(serve: Any, stub: StubServer, kills: int) -> None:
    stub.scripts["good"] = Script(prompt_tokens=100, output_tokens=50)
    gateway = serve({"good": {}}, router="thompson")
    acknowledged: list[str] = []
    answered: dict[str, float] = {}

    async def until_killed() -> None:
        enough, before = asyncio.Event(), len(acknowledged)
        workers = [asyncio.create_task(load(gateway.url, acknowledged, answered, enough, number)) for number in range(WORKERS)]
        stop = asyncio.create_task(enough.wait())
        await asyncio.wait([stop, *workers], return_when=asyncio.FIRST_COMPLETED)
        gateway.kill()
        await asyncio.gather(*workers)
        stop.cancel()
        assert len(acknowledged) > before

    for _ in range(kills):
        asyncio.run(until_killed())
        gateway.start()
    assert [status for status, _, _ in ask_all(gateway.url, [chat()])] == [200]
    judged = Counter(feedback["decision_id"] for feedback in entries(gateway, "feedback"))
    assert {decision: judged[decision] for decision in acknowledged} == dict.fromkeys(acknowledged, 1)
    attempts = entries(gateway, "attempt")
    costs = Counter(attempt["decision_id"] for attempt in attempts if attempt.get("error") is None)
    assert max(costs.values()) == 1
    logged = {attempt["decision_id"]: attempt["cost_usd"] for attempt in attempts}
    assert set(answered) <= {decision["decision"]["id"] for decision in entries(gateway, "decision")}
    lost = [decision for decision in answered if decision not in logged]  # an attempt is committed after its answer: those at the kill may be lost
    assert len(lost) <= kills * WORKERS
    kept = [decision for decision in answered if decision in logged]
    assert sum(logged[decision] for decision in kept) == pytest.approx(sum(answered[decision] for decision in kept))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_shutdown_lets_streams_end_and_refuses_new_connections(serve: Any, stub: StubServer, workers: int) -> None:
    stub.scripts["good"] = Script(pace_ms=100, chunks=40)
    gateway = serve({"good": {}}, options=["--workers", str(workers)])

    async def main() -> bytes:
        async with aiohttp.ClientSession() as session, session.post(f"{gateway.url}/v1/chat/completions", json=chat(stream=True)) as answer:
            first = await answer.content.readuntil(b"\n\n")
            gateway.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(2)
            with pytest.raises(aiohttp.ClientConnectorError):  # else it would wait for the end of the streams, and then be lost
                await session.get(f"{gateway.url}/healthz", timeout=aiohttp.ClientTimeout(1))
            return first + await answer.read()

    assert asyncio.run(main()).endswith(b"data: [DONE]\n\n")
    assert gateway.process.wait(60) == 0


def test_a_reload_drops_no_request(serve: Any, stub: StubServer) -> None:
    stub.scripts["good"] = Script(first_ms=20)
    gateway = serve({"good": {}})

    async def main() -> list[int]:
        async with aiohttp.ClientSession() as session:

            async def worker() -> list[int]:
                return [(await ask(session, gateway.url, chat()))[0] for _ in range(30)]

            workers = [asyncio.create_task(worker()) for _ in range(8)]
            for _ in range(3):
                await asyncio.sleep(0.1)
                gateway.process.send_signal(signal.SIGHUP)
            return [status for statuses in await asyncio.gather(*workers) for status in statuses]

    assert set(asyncio.run(main())) == {200}


def reloaded(gateway: Any, words: str) -> str:
    """Reload a gateway, and return its output since then, once it has some words."""
    before = len(gateway.output)
    gateway.process.send_signal(signal.SIGHUP)
    end = time.monotonic() + 60
    while words not in gateway.output[before:]:
        assert time.monotonic() < end, gateway.output
        time.sleep(0.05)
    return str(gateway.output[before:])


def test_a_log_in_memory_is_not_lost_silently_by_a_reload(serve: Any) -> None:
    gateway = serve({"good": {}}, store="memory:", settings={"access": {"limits": {"usd_total": 1e-9}}})
    assert "the log is in memory: the reload begins a new one" in reloaded(gateway, "the configuration was reloaded")
    assert gateway.ready()


def test_a_reload_changes_the_form_of_log_lines(serve: Any) -> None:
    gateway = serve({"good": {}}, settings={"observe": {"logs": {"format": "text"}}})
    file = gateway.folder / "gateway.yaml"
    file.write_text(file.read_text().replace("format: text", "format: json"), encoding="utf-8")
    reloaded(gateway, "the configuration was reloaded")
    lines = reloaded(gateway, "the configuration was reloaded").strip().splitlines()
    assert [json.loads(line)["message"] for line in lines if "reloaded" in line] == ["the configuration was reloaded"]


@pytest.mark.parametrize(("path", "body"), [("chat/completions", chat()), ("messages", {**chat(), "max_tokens": 9})])
def test_what_is_not_answered_when_the_time_to_end_has_passed_is_told_so(serve: Any, stub: StubServer, path: str, body: dict[str, Any]) -> None:
    stub.scripts.update(good=Script(fault="hang"), other=Script(fault="hang_content"))
    gateway = serve({"good": {}, "other": {}}, settings={"shutdown_s": 1})

    async def main() -> tuple[int, bytes]:
        async with aiohttp.ClientSession() as session:
            waiting = asyncio.create_task(ask(session, gateway.url, body, path))
            stream = await session.post(f"{gateway.url}/v1/{path}", json={**body, "stream": True, "model": "other"})
            assert await asyncio.to_thread(stub.wait, lambda now: now.counts("good").calls == 1)
            gateway.process.send_signal(signal.SIGTERM)
            with pytest.raises(aiohttp.ClientPayloadError):
                await stream.read()
            status, _, answer = await waiting
            return status, answer

    status, answer = asyncio.run(main())
    assert (status, b"the gateway ends" in answer) == (503, True)
    assert gateway.process.wait(60) == 0
    assert "Traceback" not in gateway.output


HANGING = """
import threading

from aamc_sdk import Component, Router, hookimpl


class Hangs(Router):
    def score(self, request):
        threading.Event().wait()


@hookimpl
def aamc_routers():
    return [Component("hangs", "hanging:Hangs", "Waits for ever.")]
"""


def test_a_router_that_hangs_does_not_keep_the_gateway_from_ending(serve: Any, stub: StubServer, tmp_path: Path) -> None:
    (tmp_path / "hanging.py").write_text(HANGING, encoding="utf-8")
    information = tmp_path / "hanging-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: hanging\nVersion: 1.0\n", encoding="utf-8")
    (information / "entry_points.txt").write_text("[aamc]\nhanging = hanging\n", encoding="utf-8")
    stub.scripts["good"] = Script()
    gateway = serve({"good": {}, "other": {}}, router="hangs", settings={"shutdown_s": 0}, environment={"PYTHONPATH": str(tmp_path)})

    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            hung = asyncio.create_task(ask(session, gateway.url, chat()))
            await asyncio.sleep(0.5)
            assert not hung.done()
            gateway.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(gateway.process.wait, 60) == 1
            hung.cancel()

    asyncio.run(main())
    assert "hanging.py" in gateway.output, "it says what hung"
