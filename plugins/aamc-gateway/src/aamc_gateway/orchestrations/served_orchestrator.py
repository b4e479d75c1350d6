"""Running an orchestrator for one request: on a thread of its own, since agents compute and wait, with its steps as they are done."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import attrs

from aamc_gateway.server.settings import OrchestratorSettings
from aamc_sdk.errors import AamcError, PluginError, ProviderError
from aamc_sdk.interfaces import Orchestrator, Step
from aamc_sdk.plugins import Plugins
from aamc_sdk.serving import Orchestration, TaskQuery, TeamOptions, find_orchestrator, start_orchestration
from aamc_sdk.types import Pool, Query

logger = logging.getLogger(__name__)
_END = object()
_STOP_S = 5.0
"""Time that is waited for an orchestrator's thread after it was asked to end, in seconds."""


class ServedOrchestrator:
    """One orchestrator and its settings. It is loaded once, when it is first needed; without a training and a pool of its own it calls ``pool``."""

    def __init__(self, name: str, settings: OrchestratorSettings, plugins: Plugins, pool: Pool | str = "default") -> None:
        self.name, self.settings, self._pool = name, settings, pool
        self._plugins = plugins
        self._loading = threading.Lock()
        self._orchestrator: Orchestrator | None = None
        self._free = asyncio.Semaphore(settings.parallel)

    def check(self) -> None:
        """Check that it can begin to work on a task; no model is called.

        Raises:
            AamcError: It needs a training and has none, or an option is wrong.
        """
        self._start(Query("Hello"), self.settings.budget_usd)

    def close(self) -> None:
        """Release threads and connections."""
        if self._orchestrator is not None:
            self._orchestrator.close()

    def _start(self, query: Query, budget_usd: float) -> Orchestration:
        settings = self.settings
        with self._loading:
            if self._orchestrator is None:
                team = TeamOptions(agents=settings.agents, agent_options=settings.agent_options, paths=settings.paths)
                folder = Path(settings.run) if settings.run else None
                self._orchestrator, _ = find_orchestrator(self.name, folder, team, self._plugins, settings.pool or None, settings.options, self._pool)
        task = TaskQuery(**{field.name: getattr(query, field.name) for field in attrs.fields(type(query)) if field.init})
        return start_orchestration(self._orchestrator, task, steps=settings.steps, cost_usd=budget_usd, seconds=settings.seconds)

    async def run(
        self, query: Query, budget_usd: float, log: Callable[[Orchestration], Awaitable[None]], request_id: str
    ) -> AsyncGenerator[Step | Orchestration, None]:
        """Work on a task: yield each step as it is done, and last the orchestration, whose decisions are then in the log.

        Closing the generator ends the work.

        Args:
            query: The task.
            budget_usd: Maximum cost in USD.
            log: Writes the decisions of the orchestration and the calls made for them.
            request_id: The request's id, under which an unexpected error is logged.

        Raises:
            AamcError: The orchestrator cannot work.
            ProviderError: It failed.
        """
        async with self._free:
            orchestration = await asyncio.to_thread(self._start, query, budget_usd)
            steps = _Steps(orchestration, self.name, request_id)
            try:
                async for step in steps:
                    yield step
            finally:  # all of it: a client may leave while the thread ends, and the calls are paid
                await asyncio.shield(_ended(steps, orchestration, log))
            yield orchestration


async def _ended(steps: _Steps, orchestration: Orchestration, log: Callable[[Orchestration], Awaitable[None]]) -> None:
    """End an orchestration, and log it."""
    await steps.stop()
    await log(orchestration)


class _Steps:
    """The steps of an orchestration, which works on its own thread and event loop; reading them ends soon after the budget's time."""

    def __init__(self, orchestration: Orchestration, name: str, request_id: str) -> None:
        self._orchestration, self._name, self._request_id = orchestration, name, request_id
        self._until = time.monotonic() + orchestration.budget.seconds
        self._ending = threading.Event()
        self._here = asyncio.get_running_loop()
        self._done: asyncio.Queue[Any] = asyncio.Queue()
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(self._run())
        self._thread = threading.Thread(target=self._work, name=f"aamc-{name}", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        error: BaseException | None = None
        try:
            self._loop.run_until_complete(self._task)
        except BaseException as failed:  # it is raised where the steps are read
            error = failed
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()
            self._tell(error or _END)

    def _tell(self, found: Any) -> None:
        with suppress(RuntimeError):  # the server has ended, and nobody reads it
            self._here.call_soon_threadsafe(self._done.put_nowait, found)

    async def _run(self) -> None:
        async with aclosing(self._orchestration.steps()) as steps:  # type: ignore[type-var]  # an async generator, which ends with this block
            async for step in steps:
                self._tell(step)
                if self._ending.is_set():
                    return
                await asyncio.sleep(0)  # an orchestrator that waits for nothing could not be cancelled

    async def __aiter__(self) -> AsyncGenerator[Step, None]:
        while (found := await self._next()) is not _END:
            if isinstance(found, AamcError) and not isinstance(found, PluginError):
                raise found
            if isinstance(found, BaseException):
                raise self._unexpected(found) from found
            yield found

    def _unexpected(self, error: BaseException) -> ProviderError:
        """Log an error of the orchestrator's own code, and return the one for clients: its text may name anything."""
        failed = f"the orchestrator {self._name!r} failed"
        logger.error("%s in request %s", failed, self._request_id, exc_info=error)
        public = f"{failed}; the gateway's log has the reason under request {self._request_id}"
        return ProviderError(f"{failed}: {type(error).__name__}: {error}", kind="server", public=public)

    async def _next(self) -> Any:
        """Return the next step."""
        try:
            return await asyncio.wait_for(self._done.get(), max(0.0, self._until - time.monotonic()) + _STOP_S)
        except asyncio.TimeoutError:
            seconds = self._orchestration.budget.seconds
            raise ProviderError(f"the orchestrator {self._name!r} took longer than its {seconds:g} s", kind="timeout") from None

    async def stop(self) -> None:
        """End the work, and wait for some time until it has ended: a thread that computes cannot be ended."""
        self._ending.set()
        with suppress(RuntimeError):  # raised where the loop is closed already
            self._loop.call_soon_threadsafe(self._task.cancel)
        await asyncio.shield(asyncio.to_thread(self._thread.join, _STOP_S))
        if self._thread.is_alive():
            logger.error("the orchestrator %r does not end; its thread runs until the process ends", self._name)
