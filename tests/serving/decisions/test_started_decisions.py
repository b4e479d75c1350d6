"""Decisions that are returned before they are durable, and the queue that writes them."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aamc_sdk import Attempt, MetaController
from aamc_sdk.errors import DataError, NoCandidateError, StoreAwayError, StoreError
from aamc_sdk.routing.arguments import RouteArguments
from aamc_sdk.routing.draw import above_floor
from aamc_sdk.serving.decisions import commit_queue, decider
from aamc_sdk.serving.decisions.commit_queue import CommitQueue
from aamc_sdk.types import Latency, ModelSpec, Pool, Prices, Query, Scores

POOL = Pool([ModelSpec(name, prices=Prices(price, price), latency=Latency(1.0, 1.0)) for name, price in (("small", 1.0), ("large", 9.0))])


@pytest.fixture
def controller(tmp_path: Path) -> Any:
    with MetaController.build(router="thompson", pool=POOL, store=f"sqlite:{tmp_path / 'log.db'}") as made:
        yield made


def test_a_decision_is_in_the_log_when_its_future_is_done(controller: MetaController) -> None:
    async def main() -> None:
        started = [await controller.start_route(f"query {n}", user="anna") for n in range(20)]
        kept = await asyncio.gather(*(one.committed for one in started))
        assert [decision.id for decision in kept] == [one.decision.id for one in started]
        for one in started:
            assert controller.store.record(one.decision.id).decision.candidate == one.decision.candidate

    asyncio.run(main())


def test_several_event_loops_share_a_controller(controller: MetaController, monkeypatch: pytest.MonkeyPatch) -> None:
    class TakenMeanwhile(list[str]):
        """Ids of which another loop's thread takes the last one after this thread has seen it."""

        def __bool__(self) -> bool:
            found = len(self) > 0
            if found:
                list.pop(self)
            return found

    async def main() -> list[str]:
        return [(await controller.start_route("hi")).decision.id for _ in range(3)]

    make = decider.new_ids
    monkeypatch.setattr(decider, "new_ids", lambda count: TakenMeanwhile(make(2)))
    assert len(set(asyncio.run(main()))) == 3


@pytest.mark.parametrize(("seconds", "threads"), [(0.0, {False, True}), (0.03, {True})])
def test_decisions_that_wait_leave_the_event_loop_free(
    controller: MetaController, monkeypatch: pytest.MonkeyPatch, seconds: float, threads: Any
) -> None:
    score, on_threads = controller.router.score, []

    def waiting(request: Any) -> Scores:
        time.sleep(seconds)
        on_threads.append(threading.current_thread() is not threading.main_thread())
        return score(request)

    async def main() -> None:
        for n in range(60):
            await (await controller.start_route(f"query {n}")).committed

    monkeypatch.setattr(controller.router, "score", waiting)
    asyncio.run(main())
    assert set(on_threads) == threads
    assert on_threads[0]


def test_feedback_waits_for_the_calls_that_came_before_it(controller: MetaController) -> None:
    async def main() -> str:
        started = await controller.start_route("hi", unavailable=["large"])
        await started.committed
        controller.add_attempt(Attempt(started.decision.id, candidate="small", error="down"))
        controller.add_attempt(Attempt(started.decision.id, candidate="large", cost_usd=0.5))
        await controller.afeedback(started.decision.id, quality=1.0)
        return started.decision.id

    decision_id = asyncio.run(main())
    experience = controller.store.experience()
    assert [attempt.candidate for attempt in experience.attempts] == ["small", "large"]
    assert [(feedback.decision_id, feedback.candidate) for feedback in experience.feedback] == [(decision_id, "large")]


def test_closing_writes_what_was_added(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'log.db'}"

    async def main(controller: MetaController) -> None:
        started = await controller.start_route("hi")
        controller.add_attempt(Attempt(started.decision.id, cost_usd=0.25))

    with MetaController.build(router="thompson", pool=POOL, store=url) as controller:
        asyncio.run(main(controller))
    with MetaController.build(router="thompson", pool=POOL, store=url) as controller:
        experience = controller.store.experience()
    assert (len(experience.decisions), [attempt.cost_usd for attempt in experience.attempts]) == (1, [0.25])


def test_a_request_that_cannot_be_decided_raises_at_once(controller: MetaController) -> None:
    async def main() -> None:
        with pytest.raises(NoCandidateError):
            await controller.start_route("hi", unavailable=["small", "large"])
        with pytest.raises(DataError, match="new id"):
            await controller.start_route("hi", decision_id="mine")

    asyncio.run(main())


def test_a_closed_controller_starts_no_decision(tmp_path: Path) -> None:
    controller = MetaController.build(router="thompson", pool=POOL)
    controller.close()
    with pytest.raises(StoreError, match="closed"):
        asyncio.run(controller.start_route("hi"))


class AwayStore:
    """A log that is away for some writes."""

    def __init__(self, away: int) -> None:
        self.away, self.attempts = away, list[Attempt]()

    def add_attempts(self, attempts: Any) -> None:
        if self.away:
            self.away -= 1
            raise StoreAwayError("away")
        self.attempts += attempts

    def add_decisions(self, records: Any) -> Any:
        raise StoreAwayError("away")


def test_calls_are_kept_until_the_log_is_back(caplog: pytest.LogCaptureFixture) -> None:
    store: Any = AwayStore(away=1)
    queue = CommitQueue(store, lambda decisions: None, lambda: None)
    queue.add_attempt(Attempt("d", cost_usd=1.0))
    with caplog.at_level(logging.WARNING):
        queue.flush()
    assert store.attempts == []
    assert "kept until the log can be written" in caplog.text
    queue.close()
    assert [attempt.cost_usd for attempt in store.attempts] == [1.0]


@pytest.mark.parametrize(
    ("quality", "floor", "allowed"),
    [([0.5, 0.9], 0.8, [False, True]), ([0.5, 0.9], 0.95, [False, True]), ([0.5, 0.9], 0.4, [True, True]), ([math.nan, math.nan], 0.9, [True, True])],
)
def test_candidates_below_the_minimum_quality_are_masked(controller: MetaController, quality: Any, floor: float, allowed: Any) -> None:
    request = controller._decider.request(RouteArguments([Query("hi")]))
    scores = Scores(np.zeros((1, 2)), expected_quality=np.array([quality]))
    assert above_floor(request, scores, floor).mask.tolist() == [allowed]


class SlowStore:
    """A log whose first write takes as long as the test wants; it notes how many decisions each write has."""

    def __init__(self) -> None:
        self.sizes, self.writes, self.goes_on = list[int](), threading.Event(), threading.Event()

    def add_decisions(self, records: Any) -> list[Any]:
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
    store: Any = SlowStore()
    queue = CommitQueue(store, lambda decisions: None, lambda: None)

    async def main() -> None:
        record = (await controller.start_route("hi")).record
        first = queue.add_decision(record)
        await asyncio.to_thread(store.writes.wait, 60)
        behind = [queue.add_decision(record) for _ in range(2)]
        store.goes_on.set()
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
    assert store.sizes == [1, 2, 2, 1, 1]
    assert (
        clock.sleeps == [commit_queue.DECISION_BATCH_S] * 2
    )  # not before the first, which came alone, nor before the last, after one that was alone
