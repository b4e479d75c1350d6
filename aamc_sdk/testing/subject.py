"""The component under test."""

from __future__ import annotations

import asyncio
import inspect
import io
import math
import random
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from aamc_sdk.concurrency import EventLoopThread
from aamc_sdk.config import configure
from aamc_sdk.interfaces import Completion, Message, Orchestrator, Router, Services, Training
from aamc_sdk.plugins import Plugins
from aamc_sdk.testing.sample_data import POOL, TableEnvironment, make_dataset, make_request, make_reward, with_feedback, with_gaps
from aamc_sdk.types import Candidate, Dataset

TRAIN_ROWS, VALIDATION_ROWS, TEST_ROWS = 60, 20, 24


CALL_USD = 1e-6
"""Cost of each call of the kit's models in USD: little, so that no limit is in its way."""


class EchoModels:
    """A client whose models answer with the prompt; it counts the calls."""

    def __init__(self) -> None:
        self.called: list[str] = []

    @property
    def spent_usd(self) -> float:
        """The cost of all calls in USD."""
        return CALL_USD * len(self.called)

    async def complete(self, candidate: Candidate, messages: Sequence[Message], *, decision_id: str | None = None, **options: Any) -> Completion:
        """Return the last message's text."""
        self.called.append(candidate.name)
        message = {"role": "assistant", "content": str(messages[-1]["content"]) if messages else ""}
        return Completion(message=message, cost_usd=CALL_USD, candidate=candidate.name, decision_id=decision_id or "")


def splits() -> tuple[Dataset, Dataset, Dataset]:
    """Return the data for training, validation and test, the first two with decisions of users and feedback."""
    return (
        with_feedback(make_dataset(TRAIN_ROWS)),
        with_feedback(make_dataset(VALIDATION_ROWS, first=1000)),
        make_dataset(TEST_ROWS, first=2000),
    )


class Subject:
    """A component under test. Its options are on top of preset ``quick``, for instance to shorten training.

    Attributes:
        train_set: Rows to train on; ``validation_set`` and ``test_set`` are others.
        reward: A reward that is fitted to them.
    """

    def __init__(self, kind: str, name: str, plugins: Plugins, options: Mapping[str, Any] | None = None) -> None:
        self.kind = kind
        self.name = name
        self.plugins = plugins
        self.options = options or {}
        self._opened: list[Any] = []
        self._loops: list[EventLoopThread] = []
        self.train_set, self.validation_set, self.test_set = splits()
        self.reward = make_reward(self.train_set)

    @cached_property
    def target(self) -> Any:
        """The class of the component, the function of a pool, or the command."""
        return self.plugins.load(self.kind, self.name)

    @property
    def package(self) -> str:
        """The top-level package of the component's class, or of its target if that is not a class or cannot be imported."""
        target = self.__dict__.get("target")
        module = target.__module__ if isinstance(target, type) else self.plugins.find(self.kind, self.name).component.target.partition(":")[0]
        return str(module.partition(".")[0])

    def services(self, seed: int = 0, models: EchoModels | None = None) -> Services:
        """Return services like those of the core; components that they make share their models."""
        models = models or EchoModels()

        def make(kind: str, name: str, options: Mapping[str, Any]) -> Any:
            return self.plugins.make(kind, name, self.services(seed, models), options)

        services = Services(pool=POOL, reward=self.reward, make=make, models=models, seed=seed, device="cpu")
        self._loops.append(services.loop)
        return services

    def make(self, seed: int = 0) -> Any:
        """Return a new, untrained component."""
        component = self.target(configure(self.target.Config, self.options, preset="quick", where=self.name), self.services(seed))
        return self.opened(component)

    def opened(self, part: Any) -> Any:
        """Return a component, or the streams of an environment; :meth:`close` will close it."""
        if hasattr(part, "close"):
            self._opened.append(part)
        return part

    def close(self) -> None:
        """Close everything that was made, then end the event loops of all services; errors of ``close`` are for checks to report."""
        for part in self._opened:
            with suppress(Exception):
                closing = part.close()
                if inspect.iscoroutine(closing):  # a provider's
                    asyncio.run(closing)
        self.close_loops()

    def close_loops(self) -> None:
        """End the event loops of all services, as a controller does; the next coroutine starts one again."""
        for loop in self._loops:
            loop.close()

    def other_training(self) -> Training:
        """Return a training on other data, whose table of outcomes lacks a few cells, as most tables do."""
        training = self._training(self.validation_set, with_feedback(self.test_set))
        return attrs.evolve(training, dataset=with_gaps(training.dataset))

    @cached_property
    def other(self) -> Any:
        """A component that was made and trained on other data; checks share it and must not change it."""
        component, _ = self._made_and_trained(self.other_training())
        return component

    @cached_property
    def trained(self) -> Any:
        """The trained component; checks share it and must not change it."""
        training = self.training()
        with watched():
            component, self.metrics = self._made_and_trained(training)
        return component

    def _made_and_trained(self, training: Training) -> tuple[Any, Any]:
        component = self.make()
        if isinstance(component, Orchestrator):
            component.prepare(training)
        return component, component.train(training)

    @cached_property
    def again(self) -> Any:
        """A second component, made and trained as ``trained`` was.

        Its training sets ``started``, the threads that it left running, event loops included, and ``global_changes``, the global state that it
        changed. The first training cannot tell: it also imports libraries, which may draw numbers.
        """
        _ = self.trained  # starts the threads that all components share
        before, training = set(threading.enumerate()), self.training()
        with watched() as self.global_changes:
            component, _ = self._made_and_trained(training)
        self.started = set(threading.enumerate()) - before
        return component

    def training(self) -> Training:
        """Return the data of the training."""
        return self._training(self.train_set, self.validation_set)

    def _training(self, train: Dataset, validation: Dataset) -> Training:
        environment = TableEnvironment(None, self.services())
        environment.prepare({"train": train, "validation": validation, "test": self.test_set})
        privileged = isinstance(self.target, type) and issubclass(self.target, Router) and self.target.privileged
        return Training(
            dataset=train,
            validation=validation,
            request=make_request(train, hindsight=privileged),
            validation_request=make_request(validation, hindsight=privileged),
            env=environment,
        )

    def reloaded(self, component: Any) -> Any:
        """Return a new component with the saved state of ``component``."""
        with tempfile.TemporaryDirectory() as folder:
            component.save(Path(folder))
            fresh = self.make()
            fresh.load(Path(folder))
        return fresh


@contextmanager
def watched() -> Iterator[list[str]]:
    """List the global state that a block changes, and restore it: the global generators, numpy's error handling, standard output."""
    found: list[str] = []
    kept, printed = _global_state(), io.StringIO()
    np.random.seed()  # another state, so that a block that seeds as one before is found too
    random.seed()
    before = _global_state()
    try:
        with redirect_stdout(printed):
            yield found
        after = _global_state()
    finally:
        np.random.set_state(kept["numpy.random"])  # the global generator
        random.setstate(kept["random"])
        np.seterr(**kept["numpy.seterr"])
    found += [name for name in before if changed(before[name], after[name], name)]
    if printed.getvalue():
        found.append(f"standard output ({printed.getvalue()[:40]!r})")


def _global_state() -> dict[str, Any]:
    return {"numpy.random": np.random.get_state(), "random": random.getstate(), "numpy.seterr": np.geterr()}  # the global one


def changed(before: Any, after: Any, name: str) -> list[str]:
    """Return the names of the parts in which two copies of a value differ: arrays, mappings, sequences and attrs objects."""
    if isinstance(before, np.ndarray):
        return [] if np.array_equal(before, after, equal_nan=before.dtype.kind == "f") else [name]
    if isinstance(before, Mapping):
        parts = [] if list(before) == list(after) else [name]
        return parts + [found for key in before if key in after for found in changed(before[key], after[key], f"{name}[{key!r}]")]
    if isinstance(before, list | tuple):
        parts = [] if isinstance(after, list | tuple) and len(before) == len(after) else [name]
        return parts + [found for n, pair in enumerate(zip(before, after, strict=False)) for found in changed(*pair, f"{name}[{n}]")]
    if attrs.has(type(before)) and type(before) is type(after):
        fields = [field.name for field in attrs.fields(type(before))]
        return [found for field in fields for found in changed(getattr(before, field), getattr(after, field), f"{name}.{field}")]
    both_unknown = isinstance(before, float) and isinstance(after, float) and math.isnan(before) and math.isnan(after)
    return [] if both_unknown or before == after else [name]


def equal(left: Any, right: Any, tolerance: float = 1e-6) -> bool:
    """Return whether two results have equal numbers, with NaN equal to NaN; both may be None."""
    if left is None or right is None:
        return left is right
    if np.shape(left) != np.shape(right):
        return False
    return np.array_equal(left, right) or bool(np.allclose(left, right, rtol=tolerance, atol=tolerance, equal_nan=True))  # the first takes a tenth
