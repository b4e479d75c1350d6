"""Memory of a worker: its tables are bounded, and requests leave no cycles, which would wait for the garbage collector with all that they hold."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
import time
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from aamc_gateway.forwarding.exchange import Exchange
from aamc_gateway.forwarding.observed_request import WATCHED_AFTER_S
from aamc_gateway.server.http.app import GatewayApp
from aamc_gateway.server.processes import worker
from aamc_gateway.server.processes.launch import Launch
from aamc_models.testing import Script
from server.conftest import Run

OURS = ("aamc_gateway.", "aamc_models.dialects.", "aamc_models.transport.")


@pytest.fixture
def no_collections() -> Iterator[None]:
    gc.collect()
    gc.freeze()  # the gateways of earlier tests may end late
    gc.disable()
    yield
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()  # what is frozen stays so: the collected tests would make each later collection slow


def exchanges_are_freed() -> bool:
    """Wait until the last requests have ended; return whether their exchanges are gone. The collector would free some before it counts them."""
    end = time.monotonic() + 5
    while any(isinstance(each, Exchange) for each in gc.get_objects()):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def cycles_of_ours() -> Counter[str]:
    """Collect garbage and return how many objects of each of our types it has."""
    assert exchanges_are_freed()
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    return Counter(type(each).__name__ for each in gc.garbage if type(each).__module__.startswith(OURS))


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("fault", ["", "refuse", "bad_json", "error_event"])
def test_a_request_leaves_no_cycle_of_ours(serve: Run, no_collections: None, fault: str, streamed: bool) -> None:
    running = serve(settings={"limits": {"fallbacks": 3}}, first=Script(fault=fault), second=Script())
    for _ in range(8):  # the router chooses each candidate sometimes
        assert running.chat(stream=streamed).status == 200
    assert Counter() == cycles_of_ours()


@pytest.mark.parametrize(("path", "status"), [("/v1/chat/completions", 200), ("/v1/feedback", 413)])
def test_a_request_whose_body_comes_in_pieces_leaves_no_cycle_of_ours(serve: Run, no_collections: None, path: str, status: int) -> None:
    running = serve(good=Script())
    body = {"model": "good", "messages": [{"role": "user", "content": "x" * 900_000}]}
    for _ in range(8):
        assert running.ask(path, body).status == status
    assert Counter() == cycles_of_ours()


@pytest.mark.parametrize("streamed", [False, True])
def test_a_request_whose_client_was_watched_leaves_no_cycle_of_ours(serve: Run, no_collections: None, streamed: bool) -> None:
    running = serve(first=Script(first_ms=3000 * WATCHED_AFTER_S))
    assert running.chat(stream=streamed).status == 200
    assert Counter() == cycles_of_ours()


@pytest.mark.parametrize("fault", ["refuse", "bad_json"])
def test_an_arena_leaves_no_cycle_of_ours(serve: Run, no_collections: None, fault: str) -> None:
    running = serve(settings={"arena": {"candidates": 2}}, first=Script(fault=fault), second=Script())
    for _ in range(3):
        assert running.chat(model="aamc/arena").status == 200
    assert Counter() == cycles_of_ours()


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("model", ["aamc/auto", "aamc/arena"])
def test_a_request_that_no_candidate_answers_leaves_no_cycle_of_ours(serve: Run, no_collections: None, model: str, streamed: bool) -> None:
    running = serve(first=Script(fault="refuse"), second=Script(fault="bad_json"))
    for _ in range(3):
        assert running.chat(model=model, stream=streamed).status == 502
    assert Counter() == cycles_of_ours()


@pytest.mark.parametrize("fault", ["cut", "late_error"])
def test_a_stream_that_breaks_leaves_no_cycle_of_ours(serve: Run, no_collections: None, fault: str) -> None:
    running = serve(first=Script(fault=fault))
    for _ in range(3):
        answer = running.chat(stream=True)
        assert (answer.status, "error" in answer.events[-1]) == (200, True)
    assert Counter() == cycles_of_ours()


@pytest.mark.parametrize("model", ["aamc/auto", "aamc/arena"])
def test_a_candidate_over_its_own_limit_leaves_no_cycle_of_ours(serve: Run, no_collections: None, model: str) -> None:
    limits = {"models": {"first": {"usd_total": 1e-9}}}
    running = serve(settings={"access": limits, "arena": {"candidates": 2}}, first=Script(), second=Script())
    for _ in range(6):
        running.gateway.access._full = (time.monotonic() + 60, {})  # the limit is found as late as the call
        assert running.chat(model=model).status == 200
    assert Counter() == cycles_of_ours()


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("model", ["aamc/auto", "first", "aamc/arena"])
def test_a_request_beyond_the_own_budgets_of_all_leaves_no_cycle_of_ours(serve: Run, no_collections: None, model: str, streamed: bool) -> None:
    limits = {"models": {name: {"usd_total": 1e-9} for name in ("first", "second")}}
    running = serve(settings={"access": limits}, first=Script(), second=Script())
    for _ in range(3):
        assert running.chat(model=model, stream=streamed).status == 402
    assert Counter() == cycles_of_ours()


def test_tables_of_conversations_have_limits(serve: Run) -> None:
    running = serve(settings={"sessions": {"at_most": 3}, "implicit": {"sessions": 2}})
    for number in range(6):
        assert running.chat(f"Question {number}").status == 200
    gateway = running.gateway
    assert (len(gateway.sessions._known), len(gateway.signals._last)) == (3, 2)


def test_a_reload_frees_the_router_that_the_reload_before_it_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_collections: None) -> None:
    """Its objects refer to one another, and requests make too little garbage for the collector to find a large router soon."""
    made: list[GatewayApp] = []
    monkeypatch.setattr(worker, "_limit_freed_memory", lambda: None)
    monkeypatch.setattr(worker, "configure_logs", lambda settings: None)
    monkeypatch.setattr(worker, "_serve", lambda app, *_: app)
    monkeypatch.setattr(worker.uvloop, "run", made.append)
    thresholds = gc.get_threshold()
    with socket.socket() as listener:
        worker.serve_worker(Launch(store=f"sqlite:{tmp_path / 'log.db'}"), listener, lambda: None)
    gc.set_threshold(*thresholds)

    async def reloads_until_it_is_free(app: GatewayApp) -> int:
        first = weakref.ref(app.gateway.controller.router)
        await app.start()
        reloads = 0
        while first() is not None and reloads < 10:  # a thread that ends may hold it at the second one
            await app.reload()
            await asyncio.gather(*app._closing)
            reloads += 1
        await app.close()
        return reloads

    assert asyncio.run(reloads_until_it_is_free(made.pop())) < 10


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
@pytest.mark.parametrize(
    ("variable", "settings"),
    [("", [(-8, 1), (-3, 131_072)]), ("MALLOC_ARENA_MAX", []), ("MALLOC_MMAP_THRESHOLD_", []), ("GLIBC_TUNABLES", [])],
)
def test_malloc_keeps_less_unless_the_user_has_set_it(variable: str, settings: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, "2")
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(worker.ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=lambda *setting: given.append(setting)))
    worker._limit_freed_memory()
    assert settings == given


def test_another_c_library_without_mallopt_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.ctypes, "CDLL", lambda name: SimpleNamespace())
    worker._limit_freed_memory()
