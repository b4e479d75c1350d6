"""The limits of an orchestration: its time and its cost."""

import asyncio
import sys
import time
from types import SimpleNamespace

import pytest

from aamc_sdk.errors import AamcError
from aamc_sdk.interfaces import Completion, Orchestrator, Provider, Step
from aamc_sdk.serving import ModelClient, Orchestration, start_orchestration
from aamc_sdk.types import Decision, ModelSpec, Pool, Preference, Query

SECONDS = 0.01


class LateError(AamcError, TimeoutError):
    """Raised by a part of an orchestrator that has its own limit of time."""


class Late(Orchestrator):
    """Waits beyond the limit, while the task may be cancelled, or fails."""

    async def run(self, task, budget):
        if task.text == "fail":
            raise LateError("too slow")
        if task.text == "cancel":
            asyncio.get_running_loop().call_soon(asyncio.current_task().cancel)
        time.sleep(2 * SECONDS)  # the limit passes before the event loop runs again
        await asyncio.Event().wait()
        yield Step(content="never")


class OneDollar(Provider):
    async def complete(self, candidate, messages, **options):
        return Completion(message={"role": "assistant", "content": "done"}, cost_usd=1.0)

    async def stream(self, candidate, messages, **options):
        raise NotImplementedError
        yield


async def work(text: str) -> Orchestration:
    orchestration = start_orchestration(Late({}, SimpleNamespace()), Query(text), steps=None, cost_usd=1.0, seconds=SECONDS)
    async for _ in orchestration.steps():
        pass
    await asyncio.sleep(0)
    return orchestration


class Reporting(Orchestrator):
    """Calls a model in a task of its own, and reports the cost that the task's text names."""

    async def run(self, task, budget):
        for step in range(3):
            await asyncio.gather(self.services.models.complete(self.services.pool.candidates[0], [{"role": "user", "content": "Hello"}]))
            decision = Decision(str(step), "a", 1.0, Preference()) if task.text == "decided" else None
            yield Step(decision=decision, content="done", cost_usd=float(task.text) if decision is None else 0.0)


@pytest.mark.parametrize(("reported", "cost_usd"), [("0", 2.0), ("1.5", 3.0), ("decided", 2.0)])
def test_a_call_that_no_step_reports_counts_towards_cost_budget_and_log(reported, cost_usd):
    models = ModelClient(lambda endpoint: OneDollar(None, None))
    services = SimpleNamespace(pool=Pool([ModelSpec("a", endpoint={"provider": "echo"})]), models=models)

    async def work() -> Orchestration:
        found = start_orchestration(Reporting({}, services), Query(reported), steps=3, cost_usd=1.8, seconds=60)
        async for _ in found.steps():
            pass
        return found

    done = asyncio.run(work())
    assert (done.cost_usd, done.stop, done.count) == (cost_usd, "out_of_budget", 2)
    assert sum(attempt.cost_usd for attempt in done.log()[1]) == (2.0 if reported == "decided" else 0)


class Paying(Orchestrator):
    """Pays for a call, and then gives no step."""

    async def run(self, task, budget):
        await self.services.models.complete(self.services.pool.candidates[0], [{"role": "user", "content": "Hello"}])
        await asyncio.Event().wait()
        yield Step(content="never")


def test_only_the_unfinished_calls_of_a_step_that_is_broken_off_are_not_counted():
    models = ModelClient(lambda endpoint: OneDollar(None, None))
    services = SimpleNamespace(pool=Pool([ModelSpec("a", endpoint={"provider": "echo"})]), models=models)

    async def work():
        found = start_orchestration(Paying({}, services), Query("task"), steps=3, cost_usd=5.0, seconds=0.1)
        assert [step async for step in found.steps()] == []
        return found

    done = asyncio.run(work())
    assert done.cost_usd == 1.0
    assert "out of budget: a step was broken off at 0.1 s, and its unfinished calls count their prompts," in done.ending()


def test_a_step_in_progress_is_broken_off_at_the_limit():
    done = asyncio.run(work("wait"))
    assert (done.stop, done.broken_off, done.count) == ("out_of_budget", True, 0)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tasks of Python 3.10 do not count their cancellations")
def test_a_cancellation_at_the_moment_of_the_limit_is_not_lost():
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(work("cancel"))


def test_an_orchestrators_own_error_of_time_is_not_the_limit():
    with pytest.raises(LateError, match="too slow"):
        asyncio.run(work("fail"))
