"""Decisions that are returned before they are durable, and the queue that writes them."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from contextlib import closing
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aamc_gateway.forwarding.decisions import commit_queue
from aamc_gateway.forwarding.decisions.commit_queue import CommitQueue

from aamc_sdk import Attempt, MetaController
from aamc_sdk.errors import NoCandidateError, StoreAwayError, StoreError
from aamc_sdk.types import Latency, ModelSpec, Pool, Prices, Scores

POOL = Pool([ModelSpec(name, prices=Prices(price, price), latency=Latency(1.0, 1.0)) for name, price in (("small", 1.0), ("large", 9.0))])


@pytest.fixture
def controller(tmp_path: Path) -> Any:
    with MetaController.build(router="thompson", pool=POOL, store=f"sqlite:{tmp_path / 'log.db'}") as made:
        yield made


@pytest.fixture
def commits(controller: MetaController) -> Any:
    with closing(CommitQueue(controller)) as made:
        yield made


def test_a_decision_is_in_the_log_when_its_future_is_done(controller: MetaController, commits: CommitQueue) -> None:
    async def main() -> None:
        started = [await commits.start(f"query {n}", user="anna") for n in range(20)]
        kept = await asyncio.gather(*(one.committed for one in started))
        assert [decision.id for decision in kept] == [one.record.decision.id for one in started]
        for one in started:
            assert controller.store.record(one.record.decision.id).decision.candidate == one.record.decision.candidate

    asyncio.run(main())


def test_several_event_loops_share_a_queue(commits: CommitQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    class TakenMeanwhile(list[str]):
        """Ids of which another loop's thread takes the last one after this thread has seen it."""

        def __bool__(self) -> bool:
            found = len(self) > 0
            if found:
                list.pop(self)
            return found

    async def main() -> list[str]:
        return [(await commits.start("hi")).record.decision.id for _ in range(3)]

    make = commit_queue.new_ids
    monkeypatch.setattr(commit_queue, "new_ids", lambda count: TakenMeanwhile(make(2)))
    assert len(set(asyncio.run(main()))) == 3


def test_requests_that_come_at_once_are_decided_one_after_the_other(
    controller: MetaController, commits: CommitQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    score, events = controller.router.score, list[str]()

    def noted(request: Any) -> Scores:
        events.append(f"score {request.queries[0].text}")
        return score(request)

    async def decide(text: str, **arguments: Any) -> str:
        events.append(f"ask {text}")
        return (await commits.start(text, **arguments)).record.decision.id

    async def main() -> None:
        tasks = [asyncio.create_task(decide("a")), asyncio.create_task(decide("b", unavailable=["small", "large"]))]
        tasks += [asyncio.create_task(decide("c")), asyncio.create_task(decide("d"))]
        await asyncio.sleep(0)
        tasks[2].cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(each) for each in found] == [str, NoCandidateError, asyncio.CancelledError, str]

    monkeypatch.setattr(controller.router, "score", noted)
    monkeypatch.setattr(commits._choices, "mean_ms", 0.0)  # else the first decisions are made on threads
    asyncio.run(main())
    assert events == ["ask a", "ask b", "ask c", "ask d", "score a", "score d"]


def test_requests_that_come_at_once_are_decided_and_fail_each_in_its_own_context(
    controller: MetaController, commits: CommitQueue, monkeypatch: pytest.MonkeyPatch
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
        return (await commits.start(text)).record.decision.id

    async def main() -> list[Any]:
        return await asyncio.wait_for(asyncio.gather(*map(decide, "abcd"), return_exceptions=True), 10)

    monkeypatch.setattr(controller.router, "score", noted)
    monkeypatch.setattr(commits._choices, "mean_ms", 0.0)
    assert [type(each) for each in asyncio.run(main())] == [str, Panic, str, str]
    assert found == ["a", "b", "c", "d"]


def test_requests_that_come_at_once_go_to_threads_when_decisions_begin_to_wait(
    controller: MetaController, commits: CommitQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    score, on_loop = controller.router.score, list[bool]()

    def waiting(request: Any) -> Scores:
        time.sleep(0.05)
        on_loop.append(threading.current_thread() is threading.main_thread())
        return score(request)

    async def main() -> None:
        await asyncio.gather(*(commits.start(f"query {n}") for n in range(20)))

    monkeypatch.setattr(controller.router, "score", waiting)
    monkeypatch.setattr(commits._choices, "mean_ms", 0.0)
    asyncio.run(main())
    assert len(on_loop) == 20
    assert sum(on_loop) == 1


def test_a_router_that_waits_for_calls_never_scores_on_the_event_loop(
    controller: MetaController, commits: CommitQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    score, threads = controller.router.score, list[threading.Thread]()

    def noted(request: Any) -> Scores:
        threads.append(threading.current_thread())
        return score(request)

    async def main() -> None:
        await asyncio.gather(*(commits.start(f"query {n}") for n in range(3)))

    monkeypatch.setattr(controller.router, "score", noted)
    monkeypatch.setattr(controller.router, "waits_for_calls", True)
    monkeypatch.setattr(commits._choices, "mean_ms", 0.0)
    asyncio.run(main())
    assert len(threads) == 3
    assert threading.main_thread() not in threads


@pytest.mark.parametrize(("seconds", "threads"), [(0.0, {False, True}), (0.03, {True})])
def test_decisions_that_wait_leave_the_event_loop_free(
    controller: MetaController, commits: CommitQueue, monkeypatch: pytest.MonkeyPatch, seconds: float, threads: Any
) -> None:
    score, on_threads = controller.router.score, []

    def waiting(request: Any) -> Scores:
        time.sleep(seconds)
        on_threads.append(threading.current_thread() is not threading.main_thread())
        return score(request)

    async def main() -> None:
        for n in range(60):
            await (await commits.start(f"query {n}")).committed

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
    monkeypatch.setattr(commit_queue, "time", clock)
    threads = commit_queue._DecisionThreads("decisions")
    for _ in range(500):
        threads.decide(partial(clock), on_loop=on_loop)
    assert threads.mean_ms == pytest.approx(mean_ms, abs=1e-3)


def test_a_request_that_is_forced_to_a_candidate_does_not_wait_for_choices_of_others(
    controller: MetaController, commits: CommitQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    score, choose = controller.router.score, threading.Event()

    def waiting(request: Any) -> Scores:
        if request.mask.all():
            assert choose.wait(60)
        return score(request)

    async def main() -> None:
        choices = asyncio.gather(*(commits.start(f"query {n}") for n in range(40)))  # more than there are threads
        try:
            for _ in range(2):
                named = await asyncio.wait_for(commits.start("hi", unavailable=["large"], forced=True), 10)
                assert named.record.decision.candidate == "small"
        finally:
            choose.set()
        assert len(await choices) == 40

    monkeypatch.setattr(controller.router, "score", waiting)
    asyncio.run(main())


def test_quick_requests_for_named_models_do_not_bring_the_first_choice_to_the_event_loop(
    controller: MetaController, commits: CommitQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    score, on_loop = controller.router.score, list[bool]()

    def noted(request: Any) -> Scores:
        on_loop.append(threading.current_thread() is threading.main_thread())
        return score(request)

    async def main() -> None:
        for _ in range(40):
            await commits.start("hi", unavailable=["large"], forced=True)
        assert on_loop[-1]
        await commits.start("hi")

    monkeypatch.setattr(controller.router, "score", noted)
    asyncio.run(main())
    assert not on_loop[-1]


def test_feedback_waits_for_the_calls_that_came_before_it(controller: MetaController, commits: CommitQueue) -> None:
    async def main() -> str:
        started = await commits.start("hi", unavailable=["large"])
        await started.committed
        commits.add_attempt(Attempt(started.record.decision.id, candidate="small", error="down"))
        commits.add_attempt(Attempt(started.record.decision.id, candidate="large", cost_usd=0.5))
        await commits.written()
        await controller.afeedback(started.record.decision.id, quality=1.0)
        return started.record.decision.id

    decision_id = asyncio.run(main())
    experience = controller.store.experience()
    assert [attempt.candidate for attempt in experience.attempts] == ["small", "large"]
    assert [(feedback.decision_id, feedback.candidate) for feedback in experience.feedback] == [(decision_id, "large")]


def test_closing_writes_what_was_added(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'log.db'}"

    async def main(commits: CommitQueue) -> None:
        started = await commits.start("hi")
        commits.add_attempt(Attempt(started.record.decision.id, cost_usd=0.25))

    with MetaController.build(router="thompson", pool=POOL, store=url) as controller, closing(CommitQueue(controller)) as commits:
        asyncio.run(main(commits))
    with MetaController.build(router="thompson", pool=POOL, store=url) as controller:
        experience = controller.store.experience()
    assert (len(experience.decisions), [attempt.cost_usd for attempt in experience.attempts]) == (1, [0.25])


def test_a_request_that_cannot_be_decided_raises_at_once(commits: CommitQueue) -> None:
    async def main() -> None:
        with pytest.raises(NoCandidateError):
            await commits.start("hi", unavailable=["small", "large"])

    asyncio.run(main())


def test_a_closed_controller_starts_no_decision(tmp_path: Path) -> None:
    controller = MetaController.build(router="thompson", pool=POOL)
    controller.close()
    with closing(CommitQueue(controller)) as commits, pytest.raises(StoreError, match="closed"):
        asyncio.run(commits.start("hi"))


class AwayLog:
    """A controller whose log is away for some writes."""

    def __init__(self, away: int) -> None:
        self.away, self.attempts = away, list[Attempt]()

    def log_attempts(self, attempts: Any) -> None:
        if self.away:
            self.away -= 1
            raise StoreAwayError("away")
        self.attempts += attempts

    def log_decisions(self, records: Any) -> Any:
        raise StoreAwayError("away")


def test_calls_are_kept_until_the_log_is_back(caplog: pytest.LogCaptureFixture) -> None:
    log: Any = AwayLog(away=1)
    queue = CommitQueue(log)

    async def main() -> None:
        queue.add_attempt(Attempt("d", cost_usd=1.0))
        await queue.written()

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
    assert log.attempts == []
    assert "kept until the log can be written" in caplog.text
    queue.close()
    assert [attempt.cost_usd for attempt in log.attempts] == [1.0]


class SlowLog:
    """A controller whose log's first write takes as long as the test wants; it notes how many decisions each write has."""

    def __init__(self) -> None:
        self.sizes, self.writes, self.goes_on = list[int](), threading.Event(), threading.Event()

    def log_decisions(self, records: Any) -> list[Any]:
        self.writes.set()
        self.goes_on.wait(60)
        self.sizes.append(len(records))
        return [record.decision for record in records]


class HeldClock:
    """A clock whose sleeps last until the test ends the first of them; it notes how long each was to be."""

    monotonic = staticmethod(time.monotonic)

    def __init__(self) -> None:
        self.sleeps, self.begun, self.ended = list[float](), threading.Event(), threading.Event()

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.begun.set()
        self.ended.wait(60)


def test_decisions_share_a_write_while_several_come_at_once_and_one_alone_does_not_wait(
    controller: MetaController, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = HeldClock()
    monkeypatch.setattr(commit_queue, "time", clock)
    log: Any = SlowLog()
    queue = CommitQueue(log)

    async def main() -> None:
        record = controller.draw("hi")
        first = queue.add_decision(record)
        await asyncio.to_thread(log.writes.wait, 60)
        behind = [queue.add_decision(record) for _ in range(2)]
        log.goes_on.set()
        await asyncio.gather(first, *behind)
        gathered = [queue.add_decision(record)]
        await asyncio.to_thread(clock.begun.wait, 60)
        gathered.append(queue.add_decision(record))
        clock.ended.set()
        await asyncio.gather(*gathered)
        await queue.add_decision(record)
        await queue.add_decision(record)

    asyncio.run(main())
    queue.close()
    assert log.sizes == [1, 2, 2, 1, 1]
    assert (
        clock.sleeps == [commit_queue.DECISION_BATCH_S] * 2
    )  # not before the first, which came alone, nor before the last, after one that was alone
