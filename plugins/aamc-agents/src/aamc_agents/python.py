"""Agent ``python``: runs the program that was written last."""

from __future__ import annotations

import ast
import asyncio
import logging
import os
from collections.abc import Mapping
from weakref import WeakKeyDictionary

import attrs

from aamc_puppeteer.agents.sandbox import Limits, Ran, code_in, run_python
from aamc_puppeteer.agents.tool import AgentError, Tool, ToolConfig, billed, subject
from aamc_puppeteer.state import TaskState
from aamc_sdk import Candidate, Services, option

logger = logging.getLogger(__name__)
MOST_REMEMBERED = 10_000
"""Programs whose results are kept, the latest."""


@attrs.frozen(kw_only=True)
class PythonConfig(ToolConfig):
    """What a program may use, and how it is billed."""

    billed_seconds: float | None = billed(5.0)
    seconds: float = option(5.0, "Seconds after which a program is stopped.", above=0.0)
    memory_mb: int = option(512, "Megabytes of memory that a program may use, the interpreter's 30 included.", at_least=64)


class Python(Tool):
    """Runs a program in a process of its own and gives what it prints; the task's files lie beside it.

    A program is taken to print the same each time: one that was run before, with the same files, is not run again.
    """

    Config = PythonConfig
    config: PythonConfig
    spec = Candidate("python", "Runs a Python program, with loops and text functions, and gives what it prints; slow.")

    def __init__(self, config: PythonConfig, services: Services) -> None:
        super().__init__(config, services)
        self._ran: dict[tuple[str, ...], Ran] = {}
        self._places: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()

    async def act(self, state: TaskState) -> str:
        """Return what the program printed."""
        program = code_in(subject(state))
        _check_computes(program)
        ran = await self._run(program, state.task.files)
        if ran.error is not None:
            raise AgentError(f"the program failed: {ran.error}")
        if not ran.printed.strip():
            raise AgentError("the program printed nothing")
        return ran.printed.strip()

    async def _run(self, program: str, files: Mapping[str, str]) -> Ran:
        key = (program, *(text for file in sorted(files.items()) for text in file))
        async with self._place():
            if key not in self._ran:
                limits = Limits(seconds=self.config.seconds, memory_mb=self.config.memory_mb)
                self._remember(key, await run_python([program], limits, files))
        return self._ran[key]

    def _remember(self, key: tuple[str, ...], ran: Ran) -> None:
        if not self._ran and ran.fences and not ran.fenced_by_kernel:
            logger.warning("here the interpreter alone keeps programs from files and sockets: run none that you do not trust")
        if len(self._ran) >= MOST_REMEMBERED:
            del self._ran[next(iter(self._ran))]
        self._ran[key] = ran

    def _place(self) -> asyncio.Semaphore:
        """Return what lets as many programs run side by side as there are processors, so that none runs out of time by waiting for others."""
        return self._places.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(os.cpu_count() or 1))


def _check_computes(program: str) -> None:
    """Raise AgentError where a text is no program, or nothing but a word or a number."""
    try:
        statements = ast.parse(program).body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:  # the parser's words for null bytes and too deep nesting
        raise AgentError(f"{program!r:.80} is no Python program: {error}") from error
    if all(isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Name | ast.Constant) for statement in statements):
        raise AgentError(f"{program!r:.80} computes nothing")
