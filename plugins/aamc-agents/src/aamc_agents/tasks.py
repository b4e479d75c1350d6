"""A task, and who says whether it was solved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import attrs

from aamc_sdk import Dataset, Query
from aamc_sdk.errors import DataError


@attrs.frozen
class Verdict:
    """Whether an answer is right, and in a few words why."""

    correct: bool
    why: str = ""


class Verifier(Protocol):
    """Decides whether a task was solved. Having stopped is never a reason."""

    async def __call__(self, task: Task, answer: str) -> Verdict:
        """Judge an answer."""


def _read_only(files: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(files))


def _as_tuple(documents: Iterable[str]) -> tuple[str, ...]:
    return tuple(documents)


@attrs.frozen(kw_only=True)
class Task:
    """Something to be done, with what agents may use for it. Nothing of it can be changed.

    Attributes:
        id: What names it in trajectories; unique in its suite.
        text: What is asked.
        kind: The sort of task, for tables; no agent or policy is told.
        verifier: Says whether an answer is right; None where nobody can, as when serving.
        reference: The right answer, for verifiers alone: agents get a state without it.
        difficulty: From 1, the easiest.
        files: Texts that agents may read, by file name.
        corpus: Documents that agents may search.
    """

    id: str
    text: str
    kind: str = ""
    verifier: Verifier | None = attrs.field(default=None, hash=False)
    reference: str | None = attrs.field(default=None, hash=False)
    difficulty: int = 1
    files: Mapping[str, str] = attrs.field(factory=dict, converter=_read_only, hash=False)
    corpus: tuple[str, ...] = attrs.field(default=(), converter=_as_tuple, hash=False)

    def without_truth(self) -> Task:
        """Return the task as agents see it: without verifier, reference, kind and difficulty."""
        return attrs.evolve(self, verifier=None, reference=None, kind="", difficulty=1)


def as_task(task: Query | Task) -> Task:
    """Return a task; a query becomes one that nobody can verify."""
    return task if isinstance(task, Task) else Task(id="query", text=task.text)


def tasks_of(dataset: Dataset) -> Sequence[Task]:
    """Return the tasks that a dataset carries.

    Raises:
        DataError: It carries none: it is of another format than ``tasks``.
    """
    tasks: Sequence[Task] | None = getattr(dataset, "tasks", None)
    if tasks is None:
        raise DataError("the puppeteer learns from tasks with verifiers, and this dataset has none; use --dataset tasks:mixed")
    return tasks


def check_tasks(tasks: Sequence[Task]) -> None:
    """Raise where there is nothing to learn from.

    Raises:
        DataError: There is no task, or one has no verifier.
    """
    if not tasks:
        raise DataError("there is no task to practise on; give at least one")
    for task in tasks:
        if task.verifier is None:
            raise DataError(f"task {task.id!r} has no verifier, so nothing can be learned from it")
