"""Tasks from queries and from datasets."""

from __future__ import annotations

from collections.abc import Sequence

from aamc_agents.tasks import Task
from aamc_experiments.data import split_rows

from aamc_sdk import Dataset, Query
from aamc_sdk.errors import DataError
from aamc_sdk.serving import TaskQuery


def as_task(query: Query | Task) -> Task:
    """Return a query as a task without a verifier, with its files and documents if it is a ``TaskQuery``."""
    if isinstance(query, Task):
        return query
    if isinstance(query, TaskQuery):
        return Task(id="command-line", text=query.text, files=query.files, corpus=query.documents)
    return Task(id="query", text=query.text)


def tasks_of(dataset: Dataset) -> Sequence[Task]:
    """Return the tasks of a dataset whose format is ``tasks``; raise DataError for another one."""
    tasks: Sequence[Task] | None = getattr(dataset, "tasks", None)
    if tasks is None:
        raise DataError("the puppeteer learns from tasks with verifiers, and this dataset has none; use --dataset tasks:mixed")
    return tasks


def check_tasks(tasks: Sequence[Task]) -> None:
    """Raise DataError if there is no task, or one has no verifier."""
    if not tasks:
        raise DataError("there is no task to practise on; give at least one")
    for task in tasks:
        if task.verifier is None:
            raise DataError(f"task {task.id!r} has no verifier, so nothing can be learned from it")


def split_tasks(tasks: Sequence[Task], seed: int = 0) -> tuple[list[Task], list[Task], list[Task]]:
    """Divide tasks into training, validation and test, 70/10/20, by a hash of seed and text; no text is in two parts.

    Raises:
        DataError: A part has no task.
    """
    rows = split_rows([task.text for task in tasks], seed)
    train, validation, test = ([tasks[row] for row in rows[side]] for side in ("train", "validation", "test"))
    return train, validation, test
