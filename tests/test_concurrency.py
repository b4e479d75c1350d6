"""The event loop on its thread; a limit of time, and cancellations from elsewhere."""

import asyncio
import math
import sys
import threading
import time
from concurrent.futures import CancelledError

import pytest

from aamc_sdk.concurrency import Deadline, EventLoopThread

counts_cancellations = pytest.mark.skipif(sys.version_info < (3, 11), reason="tasks of Python 3.10 do not count their cancellations")


async def wait_until_late(seconds: float) -> None:
    """Wait for ever, and let the limit of time pass before the event loop runs again."""
    time.sleep(2 * seconds)
    await asyncio.Event().wait()


def test_the_block_is_cancelled_at_the_limit_and_the_task_is_not():
    async def work():
        with pytest.raises(TimeoutError), Deadline(0.01):
            await wait_until_late(0.01)
        await asyncio.sleep(0)
        return "done"

    assert asyncio.run(work()) == "done"


def test_a_block_that_ends_in_time_goes_on():
    async def work():
        with Deadline(0.01):
            pass
        await asyncio.sleep(0.02)
        with pytest.raises(KeyError), Deadline(60):
            raise KeyError
        return "done"

    assert asyncio.run(work()) == "done"


def test_an_infinite_limit_sets_no_timer(monkeypatch):
    async def work():
        monkeypatch.setattr(asyncio.get_running_loop(), "call_later", None)
        with Deadline(math.inf):
            await asyncio.sleep(0)
        return "done"

    assert asyncio.run(work()) == "done"


@pytest.mark.parametrize("seconds", [60, math.inf])
def test_a_cancellation_from_elsewhere_is_not_the_limit(seconds):
    async def work():
        with Deadline(seconds):
            asyncio.current_task().cancel()
            await asyncio.Event().wait()

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(work())


@counts_cancellations
def test_a_cancellation_at_the_moment_of_the_limit_is_not_lost():
    async def work():
        with Deadline(0.01):
            asyncio.get_running_loop().call_soon(asyncio.current_task().cancel)
            await wait_until_late(0.01)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(work())


@counts_cancellations
def test_the_limit_ends_a_block_of_a_task_that_was_cancelled_before():
    async def work():
        asyncio.current_task().cancel()
        try:
            await asyncio.sleep(0)
        finally:
            with pytest.raises(TimeoutError), Deadline(0.01):
                await wait_until_late(0.01)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(work())


def test_work_that_is_submitted_while_the_loop_closes_is_cancelled():
    loop, lock = EventLoopThread(), threading.Lock()

    class ClosesNext:
        """The loop's lock; once it is free, another thread closes the loop."""

        def __enter__(self):
            lock.acquire()

        def __exit__(self, *exception):
            lock.release()
            loop._lock = lock
            closing = threading.Thread(target=loop.close)
            closing.start()
            closing.join(60)

    loop.run(asyncio.sleep(0))
    loop._lock = ClosesNext()
    with pytest.raises(CancelledError):
        loop.submit(asyncio.sleep(60)).result(60)
    assert not loop.started
