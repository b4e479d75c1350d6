"""Decisions on the event loop and on threads, returned before they are durable."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import closing
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aamc_gateway.forwarding.decisions import gateway_decider
from aamc_gateway.forwarding.decisions.commit_queue import CommitQueue
from aamc_gateway.forwarding.decisions.gateway_decider import GatewayDecider
from decisions.conftest import POOL

from aamc_sdk import MetaController
from aamc_sdk.errors import NoCandidateError, StoreError
from aamc_sdk.types import Scores


@pytest.fixture
def decider(controller: MetaController, commits: CommitQueue) -> Any:
    with closing(GatewayDecider(controller, commits)) as made:
        yield made


def test_a_decision_is_in_the_log_when_its_future_is_done(controller: MetaController, decider: GatewayDecider) -> None:
    async def main() -> None:
        started = [await decider.start(f"query {n}", user="anna") for n in range(20)]
        kept = await asyncio.gather(*(one.committed for one in started))
        assert [decision.id for decision in kept] == [one.record.decision.id for one in started]
        for one in started:
            assert controller.store.record(one.record.decision.id).decision.candidate == one.record.decision.candidate

    asyncio.run(main())


def test_several_event_loops_share_a_decider(decider: GatewayDecider, monkeypatch: pytest.MonkeyPatch) -> None:
    class TakenMeanwhile(list[str]):
        """Ids of which another loop's thread takes the last one after this thread has seen it."""

        def __bool__(self) -> bool:
            found = len(self) > 0
            if found:
                list.pop(self)
            return found

    async def main() -> list[str]:
        return [(await decider.start("hi")).record.decision.id for _ in range(3)]

    make = gateway_decider.new_ids
    monkeypatch.setattr(gateway_decider, "new_ids", lambda count: TakenMeanwhile(make(2)))
    assert len(set(asyncio.run(main()))) == 3


def test_requests_that_come_at_once_are_decided_one_after_the_other(
    controller: MetaController, decider: GatewayDecider, monkeypatch: pytest.MonkeyPatch
) -> None:
    score, events = controller.router.score, list[str]()

    def noted(request: Any) -> Scores:
        events.append(f"score {request.queries[0].text}")
        return score(request)

    async def decide(text: str, **arguments: Any) -> str:
        events.append(f"ask {text}")
        return (await decider.start(text, **arguments)).record.decision.id

    async def main() -> None:
        tasks = [asyncio.create_task(decide("a")), asyncio.create_task(decide("b", unavailable=["small", "large"]))]
        tasks += [asyncio.create_task(decide("c")), asyncio.create_task(decide("d"))]
        await asyncio.sleep(0)
        tasks[2].cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(each) for each in found] == [str, NoCandidateError, asyncio.CancelledError, str]

    monkeypatch.setattr(controller.router, "score", noted)
    monkeypatch.setattr(decider._choices, "mean_ms", 0.0)  # else the first decisions are made on threads
    asyncio.run(main())
    assert events == ["ask a", "ask b", "ask c", "ask d", "score a", "score d"]


def test_requests_that_come_at_once_are_decided_and_fail_each_in_its_own_context(
    controller: MetaController, decider: GatewayDecider, monkeypatch: pytest.MonkeyPatch
) -> None:
    score, asked, found = controller.router.score, ContextVar[str]("asked"), list[str]()

    class Panic(BaseException):
        """As extensions raise it that are not written in Python."""

    def noted(request: Any) -> Scores:
        found.append(asked.get())
        if asked.get() == "b":
            raise Panic
        return score(request)

    async def decide(text: str) -> str:
        asked.set(text)
        return (await decider.start(text)).record.decision.id

    async def main() -> list[Any]:
        return await asyncio.wait_for(asyncio.gather(*map(decide, "abcd"), return_exceptions=True), 10)

    monkeypatch.setattr(controller.router, "score", noted)
    monkeypatch.setattr(decider._choices, "mean_ms", 0.0)
    assert [type(each) for each in asyncio.run(main())] == [str, Panic, str, str]
    assert found == ["a", "b", "c", "d"]


def test_requests_that_come_at_once_go_to_threads_when_decisions_begin_to_wait(
    controller: MetaController, decider: GatewayDecider, monkeypatch: pytest.MonkeyPatch
) -> None:
    score, on_loop = controller.router.score, list[bool]()

    def waiting(request: Any) -> Scores:
        time.sleep(0.05)
        on_loop.append(threading.current_thread() is threading.main_thread())
        return score(request)

    async def main() -> None:
        await asyncio.gather(*(decider.start(f"query {n}") for n in range(20)))

    monkeypatch.setattr(controller.router, "score", waiting)
    monkeypatch.setattr(decider._choices, "mean_ms", 0.0)
    asyncio.run(main())
    assert len(on_loop) == 20
    assert sum(on_loop) == 1


def test_a_router_that_waits_for_calls_never_scores_on_the_event_loop(
    controller: MetaController, decider: GatewayDecider, monkeypatch: pytest.MonkeyPatch
) -> None:
    score, threads = controller.router.score, list[threading.Thread]()

    def noted(request: Any) -> Scores:
        threads.append(threading.current_thread())
        return score(request)

    async def main() -> None:
        await asyncio.gather(*(decider.start(f"query {n}") for n in range(3)))

    monkeypatch.setattr(controller.router, "score", noted)
    monkeypatch.setattr(controller.router, "waits_for_calls", True)
    monkeypatch.setattr(decider._choices, "mean_ms", 0.0)
    asyncio.run(main())
    assert len(threads) == 3
    assert threading.main_thread() not in threads


@pytest.mark.parametrize(("seconds", "threads"), [(0.0, {False, True}), (0.03, {True})])
def test_decisions_that_wait_leave_the_event_loop_free(
    controller: MetaController, decider: GatewayDecider, monkeypatch: pytest.MonkeyPatch, seconds: float, threads: Any
) -> None:
    score, on_threads = controller.router.score, []

    def waiting(request: Any) -> Scores:
        time.sleep(seconds)
        on_threads.append(threading.current_thread() is not threading.main_thread())
        return score(request)

    async def main() -> None:
        for n in range(60):
            await (await decider.start(f"query {n}")).committed

    monkeypatch.setattr(controller.router, "score", waiting)
    asyncio.run(main())
    assert set(on_threads) == threads
    assert on_threads[0]


class GivenClock:
    """A clock that each decision sets forward, by its whole time and the processor time of the process and of the thread."""

    def __init__(self, whole_ms: float, process_ms: float, thread_ms: float) -> None:
        self._steps = whole_ms / 1000, process_ms / 1000, thread_ms / 1000
        self._decisions = 0

    def __call__(self) -> Any:
        self._decisions += 1

    def perf_counter(self) -> float:
        return self._decisions * self._steps[0]

    def process_time(self) -> float:
        return self._decisions * self._steps[1]

    def thread_time(self) -> float:
        return self._decisions * self._steps[2]


@pytest.mark.parametrize(
    ("whole_ms", "process_ms", "thread_ms", "on_loop", "mean_ms"),
    [
        (2.9, 2.9, 2.9, True, 0.0),  # quick
        (4.0, 4.0, 4.0, True, 4.0),
        (15.0, 4.0, 4.0, True, 4.0),  # a short wait
        (300.0, 2.0, 1.0, True, 300.0),  # it waits for a server
        (300.0, 290.0, 1.0, True, 300.0),  # likewise, while other threads work
        (300.0, 2.0, 1.0, False, 300.0),
        (300.0, 290.0, 1.0, False, 0.0),  # it waits for the interpreter, which other threads have
        (300.0, 160.0, 1.0, False, 0.0),  # likewise, while other programs have the processor
        (300.0, 290.0, 15.0, False, 15.0),
    ],
)
def test_the_time_of_a_decision_has_what_it_waits_for_a_server(
    monkeypatch: pytest.MonkeyPatch, whole_ms: float, process_ms: float, thread_ms: float, on_loop: bool, mean_ms: float
) -> None:
    clock = GivenClock(whole_ms, process_ms, thread_ms)
    monkeypatch.setattr(gateway_decider, "time", clock)
    threads = gateway_decider._DecisionThreads("decisions")
    for _ in range(500):
        threads.decide(partial(clock), on_loop=on_loop)
    assert threads.mean_ms == pytest.approx(mean_ms, abs=1e-3)


def test_a_request_that_is_forced_to_a_candidate_does_not_wait_for_choices_of_others(
    controller: MetaController, decider: GatewayDecider, monkeypatch: pytest.MonkeyPatch
) -> None:
    score, choose = controller.router.score, threading.Event()

    def waiting(request: Any) -> Scores:
        if request.mask.all():
            assert choose.wait(60)
        return score(request)

    async def main() -> None:
        choices = asyncio.gather(*(decider.start(f"query {n}") for n in range(40)))  # more than there are threads
        try:
            for _ in range(2):
                named = await asyncio.wait_for(decider.start("hi", unavailable=["large"], forced=True), 10)
                assert named.record.decision.candidate == "small"
        finally:
            choose.set()
        assert len(await choices) == 40

    monkeypatch.setattr(controller.router, "score", waiting)
    asyncio.run(main())


def test_quick_requests_for_named_models_do_not_bring_the_first_choice_to_the_event_loop(
    controller: MetaController, decider: GatewayDecider, monkeypatch: pytest.MonkeyPatch
) -> None:
    score, on_loop = controller.router.score, list[bool]()

    def noted(request: Any) -> Scores:
        on_loop.append(threading.current_thread() is threading.main_thread())
        return score(request)

    async def main() -> None:
        for _ in range(40):
            await decider.start("hi", unavailable=["large"], forced=True)
        assert on_loop[-1]
        await decider.start("hi")

    monkeypatch.setattr(controller.router, "score", noted)
    asyncio.run(main())
    assert not on_loop[-1]


def test_a_request_that_cannot_be_decided_raises_at_once(decider: GatewayDecider) -> None:
    async def main() -> None:
        with pytest.raises(NoCandidateError):
            await decider.start("hi", unavailable=["small", "large"])

    asyncio.run(main())


def test_a_closed_controller_starts_no_decision(tmp_path: Path) -> None:
    controller = MetaController.build(router="thompson", pool=POOL)
    controller.close()
    with closing(GatewayDecider(controller, CommitQueue(controller))) as decider, pytest.raises(StoreError, match="closed"):
        asyncio.run(decider.start("hi"))
