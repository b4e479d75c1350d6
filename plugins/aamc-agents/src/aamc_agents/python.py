"""Agent ``python``: runs the program in the last output; and the check of its sandbox for ``aamc doctor``."""

from __future__ import annotations

import ast
import asyncio
import logging
import os
from collections.abc import Mapping
from weakref import WeakKeyDictionary

import attrs

from aamc_agents.sandbox import Ran, SandboxLimits, check_confined, code_in, run_python
from aamc_agents.state import TaskState
from aamc_agents.tool import AgentError, AgentTimeoutError, Tool, ToolConfig, billed, subject
from aamc_sdk import Candidate, Services, option
from aamc_sdk.interfaces import Diagnosis

logger = logging.getLogger(__name__)
MAX_CACHED = 10_000
"""Number of latest programs whose results are cached."""
MAX_CHARACTERS = 100_000
"""Maximum length of a program: this process parses it first, for seconds and in hundreds of megabytes for a million characters."""


@attrs.frozen(kw_only=True)
class PythonConfig(ToolConfig):
    """A program's limits, and billing."""

    billed_seconds: float | None = billed(5.0)
    seconds: float = option(5.0, "Seconds after which a program is stopped.", above=0.0)
    memory_mb: int = option(512, "Maximum memory of a program in MB, including the interpreter's 30.", at_least=64)
    unconfined: bool = option(False, "Run programs even if the kernel cannot confine them. Use it only for programs that you trust.")


class Python(Tool):
    """Runs a program in a sandboxed process, in a folder with the task's files, and returns its standard output.

    A program is assumed to print the same each time: the result of a program and its files is cached, unless it took too long.
    """

    Config = PythonConfig
    config: PythonConfig
    spec = Candidate("python", "Runs a Python program, with loops and text functions, and gives what it prints; slow.")

    def __init__(self, config: PythonConfig, services: Services) -> None:
        super().__init__(config, services)
        self._ran: dict[tuple[str, ...], Ran] = {}
        self._warned = False
        self._places: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()

    def check(self) -> None:
        """Raise ConfigError unless programs are confined here, or the options allow unconfined ones."""
        check_confined(self.config.unconfined, "its option unconfined")

    async def act(self, state: TaskState) -> str:
        """Return the program's standard output."""
        program = code_in(subject(state))
        _check_computes(program)
        ran = await self._run(program, state.task.files)
        if ran.error is not None:
            raise (AgentTimeoutError if ran.late else AgentError)(f"the program failed: {ran.error}")
        if not ran.printed.strip():
            raise AgentError("the program printed nothing")
        return ran.printed.strip()

    async def _run(self, program: str, files: Mapping[str, str]) -> Ran:
        key = (program, *(text for file in sorted(files.items()) for text in file))
        async with self._place():
            if key in self._ran:
                return self._ran[key]
            limits = SandboxLimits(seconds=self.config.seconds, memory_mb=self.config.memory_mb, unconfined=self.config.unconfined)
            ran = await run_python([program], limits, files)
            if not ran.late:
                self._remember(key, ran)
            return ran

    def _remember(self, key: tuple[str, ...], ran: Ran) -> None:
        if not self._warned and ran.fences and not ran.fenced_by_kernel:
            self._warned = True
            logger.warning(
                "here the interpreter alone keeps programs from files and sockets (no Landlock or libseccomp): run only programs that you trust"
            )
        if len(self._ran) >= MAX_CACHED:
            del self._ran[next(iter(self._ran))]
        self._ran[key] = ran

    def _place(self) -> asyncio.Semaphore:
        """Return the running loop's semaphore: as many programs run at once as there are processors, so that none times out while it waits."""
        return self._places.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(os.cpu_count() or 1))


def _check_computes(program: str) -> None:
    """Raise AgentError if a text is not a program, only a word or a number, or too long."""
    if len(program) > MAX_CHARACTERS:
        raise AgentError(f"a program of {len(program):,} characters is refused: at most {MAX_CHARACTERS:,} are read")
    try:
        statements = ast.parse(program).body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:  # the parser raises these for null bytes and deep nesting
        raise AgentError(f"{program!r:.80} is not a Python program: {error}") from error
    if all(isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Name | ast.Constant) for statement in statements):
        raise AgentError(f"{program!r:.80} computes nothing")


def check_sandbox() -> list[Diagnosis]:
    """Check that programs of the agent ``python`` run, and which fences confine them."""
    ran = asyncio.run(run_python(["print(6 * 7)"], SandboxLimits(unconfined=True)))
    fences = f"programs are confined by: {', '.join(ran.fences) or 'nothing'}"
    if ran.error is not None or ran.printed.strip() != "42":
        return [Diagnosis("sandbox", f"a program failed: {ran.error or ran.printed!r}", "broken", "leave the agent python out (--agents)")]
    if not ran.fenced_by_kernel:
        advice = "use Linux 5.13 or later with Landlock and libseccomp, or set the agent's option unconfined for programs that you trust"
        return [Diagnosis("sandbox", f"{fences}; the kernel does not help, so the agent python refuses programs", "warning", advice)]
    return [Diagnosis("sandbox", fences)]
