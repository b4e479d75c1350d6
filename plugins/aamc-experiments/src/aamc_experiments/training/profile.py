"""The time profile of an experiment, which ``aamc run --profile`` prints.

Stages are measured in wall-clock time. Functions are measured by :mod:`cProfile`, which needs no further package and misses no
short call, but slows the run more than a sampling profiler. It sees only the main thread: the work of other threads appears
as waiting.
"""

from __future__ import annotations

import cProfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType
from typing import Any

from aamc_experiments.training.experiment import Experiment
from aamc_sdk.interfaces import Progress, Router
from aamc_sdk.storage import write_json

SHOWN_FUNCTIONS = 15
"""The number of functions that the profile holds."""


class Profile:
    """A progress that measures its stages and forwards all calls to another one; as a context manager, it profiles functions too.

    Attributes:
        stages: Seconds by stage, in order; the name of a stage's part is ``"STAGE: PART"``.
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
        """Measure the block as a stage."""
        self._stage, began = name, time.perf_counter()
        self.stages.setdefault(name, 0.0)
        try:
            yield
        finally:
            self._end_part()
            self.stages[name] += time.perf_counter() - began

    def measure(self, experiment: Experiment) -> None:
        """Measure the stages of an experiment, one for each router."""
        train = experiment.router

        def router(name: str, *arguments: Any) -> Router:
            with self.stage(f"router {name}"):
                return train(name, *arguments)

        stages = {"begin": "data", "estimator": "estimator", "requests": "estimates", "compare": "evaluation"}
        measured = {method: self.stage(name)(getattr(experiment, method)) for method, name in stages.items()}
        for method, function in {**measured, "router": router}.items():
            setattr(experiment, method, function)

    def start(self, what: str, total: int) -> None:
        """Begin a part of the current stage, and forward the call."""
        self._end_part()
        self._part, self._part_began = f"{self._stage}: {what}", time.perf_counter()
        self._shown.start(what, total)

    def advance(self, steps: int = 1, **figures: float) -> None:
        """Forward the call."""
        self._shown.advance(steps, **figures)

    def say(self, line: str) -> None:
        """Forward the call."""
        self._shown.say(line)

    def _end_part(self) -> None:
        if self._part:
            self.stages[self._part] = self.stages.get(self._part, 0.0) + time.perf_counter() - self._part_began
        self._part = ""

    def write(self, folder: Path) -> dict[str, Any]:
        """Write ``profile.json`` and return its content: the stages, and the slowest functions without those that they call."""
        stages = [{"stage": name, **self._share(seconds)} for name, seconds in self.stages.items()]
        functions = [
            {"function": name, "calls": calls, **self._share(seconds)} for name, calls, seconds in slowest_functions(self._profiler, SHOWN_FUNCTIONS)
        ]
        document = {"schema": 1, "seconds": self._seconds, "stages": stages, "functions": functions}
        write_json(folder / "profile.json", document)
        return document

    def _share(self, seconds: float) -> dict[str, float]:
        return {"seconds": seconds, "share": seconds / self._seconds}


def slowest_functions(profiler: cProfile.Profile, count: int) -> list[tuple[str, int, float]]:
    """Return the functions with the most time of their own: place, number of calls and seconds."""
    entries = sorted(profiler.getstats(), key=lambda entry: -entry.inlinetime)[:count]
    return [(_place(entry.code), entry.callcount, entry.inlinetime) for entry in entries]


def _place(code: CodeType | str) -> str:
    """Return the name of a function, after the last two parts of its file's path unless it is built in."""
    return code if isinstance(code, str) else f"{'/'.join(Path(code.co_filename).parts[-2:])}:{code.co_firstlineno} {code.co_name}"
