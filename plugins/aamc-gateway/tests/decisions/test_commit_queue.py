"""The queue that writes decisions and attempts."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from aamc_gateway.forwarding.decisions import commit_queue
from aamc_gateway.forwarding.decisions.commit_queue import CommitQueue
from decisions.conftest import POOL

from aamc_sdk import Attempt, MetaController
from aamc_sdk.errors import StoreAwayError
from aamc_sdk.types import Record


def test_feedback_waits_for_the_calls_that_came_before_it(controller: MetaController, commits: CommitQueue) -> None:
    async def main() -> str:
        decision = await commits.add_decision(controller.draw("hi", unavailable=["large"]))
        commits.add_attempt(Attempt(decision.id, candidate="small", error="down"))
        commits.add_attempt(Attempt(decision.id, candidate="large", cost_usd=0.5))
        await commits.written()
        await controller.afeedback(decision.id, quality=1.0)
        return decision.id

    decision_id = asyncio.run(main())
    experience = controller.store.experience()
    assert [attempt.candidate for attempt in experience.attempts] == ["small", "large"]
    assert [(feedback.decision_id, feedback.candidate) for feedback in experience.feedback] == [(decision_id, "large")]


def test_closing_writes_what_was_added(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'log.db'}"

    async def main(commits: CommitQueue, record: Record) -> None:
        commits.add_decision(record)
        commits.add_attempt(Attempt(record.decision.id, cost_usd=0.25))

    with MetaController.build(router="thompson", pool=POOL, store=url) as controller, closing(CommitQueue(controller)) as commits:
        asyncio.run(main(commits, controller.draw("hi")))
    with MetaController.build(router="thompson", pool=POOL, store=url) as controller:
        experience = controller.store.experience()
    assert (len(experience.decisions), [attempt.cost_usd for attempt in experience.attempts]) == (1, [0.25])


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
