"""Where the time of an experiment goes: what ``aamc run --profile`` prints.

Stages are timed by the clock on the wall. Functions are counted by the standard library's deterministic profiler, which
needs no package more and misses no short call; a sampling one would slow the run less. It sees the main thread
alone: what other threads compute meanwhile appears as waiting.
"""

from __future__ import annotations

import cProfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import CodeType
from typing import Any

from aamc_experiments.experiment import Experiment
from aamc_experiments.setup import World
from aamc_sdk.config import Choice
from aamc_sdk.interfaces import Estimator, Progress, Router
from aamc_sdk.storage import write_json
from aamc_sdk.types import RoutingRequest

HOTTEST = 15
"""Functions that are shown."""


class Profile:
    """A progress that times what it is told of, and tells it on; and a context manager, within which functions are counted.

    Args:
        shown: The progress that people see.

    Attributes:
        stages: Seconds by stage, in the order in which they came; a part of one is ``"STAGE: PART"``.
    """

    def __init__(self, shown: Progress) -> None:
        self._shown = shown
        self._profiler = cProfile.Profile()
        self._began, self._seconds = 0.0, 0.0
        self._stage, self._part, self._part_began = "", "", 0.0
        self.stages: dict[str, float] = {}

    def __enter__(self) -> Profile:
        self._began = time.perf_counter()
        self._profiler.enable()
        return self

    def __exit__(self, *error: object) -> None:
        self._profiler.disable()
        self._seconds = time.perf_counter() - self._began

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block as a stage."""
        self._stage, began = name, time.perf_counter()
        self.stages.setdefault(name, 0.0)
        try:
            yield
        finally:
            self._end_part()
            self.stages[name] += time.perf_counter() - began

    def start(self, what: str, total: int) -> None:
        """Begin a part of the stage."""
        self._end_part()
        self._part, self._part_began = f"{self._stage}: {what}", time.perf_counter()
        self._shown.start(what, total)

    def advance(self, steps: int = 1, **figures: float) -> None:
        """Tell it on."""
        self._shown.advance(steps, **figures)

    def say(self, line: str) -> None:
        """Tell it on."""
        self._shown.say(line)

    def _end_part(self) -> None:
        if self._part:
            self.stages[self._part] = self.stages.get(self._part, 0.0) + time.perf_counter() - self._part_began
        self._part = ""

    def document(self) -> dict[str, Any]:
        """Return stages and the hottest functions, without what these call, each with seconds and share of the whole."""
        stages = [{"stage": name, **self._share(seconds)} for name, seconds in self.stages.items()]
        functions = [{"function": name, "calls": calls, **self._share(seconds)} for name, calls, seconds in hottest(self._profiler, HOTTEST)]
        return {"schema": 1, "seconds": self._seconds, "stages": stages, "functions": functions}

    def _share(self, seconds: float) -> dict[str, float]:
        return {"seconds": seconds, "share": seconds / self._seconds}

    def write(self, folder: Path) -> dict[str, Any]:
        """Write ``profile.json`` and return what it holds."""
        document = self.document()
        write_json(folder / "profile.json", document)
        return document


class ProfiledExperiment(Experiment):
    """An experiment whose progress is a :class:`Profile`, and which tells it of its stages."""

    progress: Profile

    def begin(self) -> World:
        """Time what the experiment does."""
        with self.progress.stage("data"):
            return super().begin()

    def estimator(self, world: World) -> Estimator | None:
        """Time what the experiment does."""
        with self.progress.stage("estimator"):
            return super().estimator(world)

    def requests(self, world: World, estimator: Estimator | None) -> dict[str, RoutingRequest]:
        """Time what the experiment does."""
        with self.progress.stage("estimates"):
            return super().requests(world, estimator)

    def router(self, name: str, choice: Choice, world: World, requests: Mapping[str, RoutingRequest]) -> Router:
        """Time what the experiment does."""
        with self.progress.stage(f"router {name}"):
            return super().router(name, choice, world, requests)

    def compare(self, world: World, routers: Mapping[str, Router], requests: Mapping[str, RoutingRequest]) -> dict[str, Any]:
        """Time what the experiment does."""
        with self.progress.stage("evaluation"):
            return super().compare(world, routers, requests)


def hottest(profiler: cProfile.Profile, count: int) -> list[tuple[str, int, float]]:
    """Return the functions that took longest without what they call: where each is, its calls, and its seconds."""
    entries = sorted(profiler.getstats(), key=lambda entry: -entry.inlinetime)[:count]
    return [(_place(entry.code), entry.callcount, entry.inlinetime) for entry in entries]


def _place(code: CodeType | str) -> str:
    """Return a function with the last two parts of its file's path; built-in ones have none."""
    return code if isinstance(code, str) else f"{'/'.join(Path(code.co_filename).parts[-2:])}:{code.co_firstlineno} {code.co_name}"
