"""The time limit of an orchestration."""

import asyncio
import sys
import time
from types import SimpleNamespace

import pytest

from aamc_sdk.errors import AamcError
from aamc_sdk.interfaces import Orchestrator, Step
from aamc_sdk.serving import Orchestration, start_orchestration
from aamc_sdk.types import Query

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


async def work(text: str) -> Orchestration:
    orchestration = start_orchestration(Late({}, SimpleNamespace()), Query(text), steps=None, cost_usd=1.0, seconds=SECONDS)
    async for _ in orchestration.steps():
        pass
    await asyncio.sleep(0)
    return orchestration


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
