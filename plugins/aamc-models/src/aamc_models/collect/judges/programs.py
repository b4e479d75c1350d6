"""Judges ``tests`` and ``python:MODULE:FUNCTION``: programs of the user score the answers."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import math
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from numbers import Real
from typing import Any

import numpy as np

from aamc_models.collect.judges.interface import SingleJudge
from aamc_models.collect.prompts import TESTS_FIELD, Prompt
from aamc_sdk.concurrency import run_on_own_thread
from aamc_sdk.errors import ConfigError, DataError
from aamc_sdk.messages import error_text


class ProgramTestsJudge(SingleJudge):
    """Runs the program in an answer with the prompt's tests, in the sandbox of aamc-agents; the quality is the share of tests that pass."""

    def __init__(self) -> None:
        try:
            from aamc_agents import sandbox
        except ImportError as error:
            raise ConfigError("the judge tests needs the sandbox of aamc-agents; install it: pip install 'aamc-models[tests]'") from error
        if not sandbox.machine_fences().fenced_by_kernel:
            raise ConfigError(
                "the judge tests runs models' programs, and the kernel here does not confine them; use Linux with Landlock and libseccomp"
            )
        self._sandbox = sandbox
        self._places = asyncio.Semaphore(os.cpu_count() or 1)

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Check that each prompt has tests, and that they are Python: no answer would pass others."""
        for prompt in prompts:
            if not prompt.tests:
                raise DataError(f"{prompt.location} has no {TESTS_FIELD!r}; add Python programs that fail by an error, such as assert f(2) == 4")
            for test in prompt.tests:
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        compile(test, "<test>", "exec")
                except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                    raise DataError(f"{prompt.location}: the test {test!r:.80} is not Python ({error}); correct it") from error

    async def quality(self, prompt: Prompt, answer: str) -> float:
        """Return the share of tests that pass."""
        program = self._sandbox.code_in(answer)
        passed = [await self._passes(program, test) for test in prompt.tests]
        return sum(passed) / len(passed)

    async def _passes(self, program: str, test: str) -> bool:
        async with self._places:  # no more programs at once than processors, so that none runs out of time while it waits
            return not await self._sandbox.run_tests(program, test, self._sandbox.SandboxLimits())


class FunctionJudge(SingleJudge):
    """Calls ``MODULE:FUNCTION`` of the user as ``function(row, answer)``.

    It may be asynchronous, and returns the quality, or None if it is unknown. The module is looked for in the working folder too.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._function = _function(path)

    async def quality(self, prompt: Prompt, answer: str) -> float | None:
        """Return the function's value."""
        try:
            value = await self._call(prompt.row, answer)
        except (Exception, SystemExit) as error:  # a user's function may raise anything
            raise DataError(f"{prompt.location}: {self._path} failed: {error_text(error)}; fix it, and run the command again") from error
        if value is None:
            return None
        number = float(value) if isinstance(value, Real | np.bool_) else math.nan
        if not 0 <= number <= 1:
            raise DataError(f"{prompt.location}: {self._path} must return a number from 0 to 1, or None, not {value!r:.80}")
        return number

    async def _call(self, row: Mapping[str, Any], answer: str) -> Any:
        value = await asyncio.wrap_future(run_on_own_thread(partial(self._function, row, answer), "aamc-judge"))
        return await value if inspect.isawaitable(value) else value


def _function(path: str) -> Callable[[Mapping[str, Any], str], Any]:
    module, _, name = path.partition(":")
    if not module or not name:
        raise ConfigError(f"--judge python: must name MODULE:FUNCTION, such as python:my_judge:score, not {path!r}")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        function = getattr(importlib.import_module(module), name)
    except Exception as error:  # a user's module may raise anything
        raise ConfigError(f"--judge python:{path} cannot be imported: {error_text(error)}") from error
    if not callable(function):
        raise ConfigError(f"--judge python:{path} must name a function(row, answer), not {function!r:.80}")
    return function  # type: ignore[no-any-return]  # the user's own
