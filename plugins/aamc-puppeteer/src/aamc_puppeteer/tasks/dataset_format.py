"""Dataset format ``tasks``: task suites as datasets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import attrs
import numpy as np
from aamc_agents.models import ChatModel, ModelConfig
from aamc_agents.tasks import Task, Verifier
from numpy.typing import NDArray

from aamc_puppeteer.tasks.published import PUBLISHED, read_published
from aamc_puppeteer.tasks.verifiers import JUDGE, Judge, named
from aamc_puppeteer.testbed.suites import DIFFICULTIES, SUITES, load_suite
from aamc_sdk import Dataset, DatasetFormat, Labels, Query, option
from aamc_sdk.config import configure
from aamc_sdk.errors import DataError, nearest, one_of


@attrs.frozen(eq=False)
class TaskDataset(Dataset):
    """A dataset whose rows are tasks.

    Attributes:
        tasks: Each row's task, with its verifier.
    """

    tasks: Sequence[Task] = ()

    def take(self, rows: NDArray[np.intp]) -> TaskDataset:
        """Return some rows."""
        taken = super().take(rows)
        assert isinstance(taken, TaskDataset)
        return attrs.evolve(taken, tasks=[self.tasks[row] for row in rows])


def as_dataset(tasks: Sequence[Task], source: str) -> TaskDataset:
    """Return tasks as a dataset: texts as queries, kinds as categories, difficulties as complexity, answers as references."""
    labels = Labels(
        complexity=np.array([(task.difficulty - 1) / (DIFFICULTIES - 1) for task in tasks]),
        category=np.array([task.kind for task in tasks], dtype=np.str_),
    )
    queries, references = [Query(task.text) for task in tasks], [task.reference or "" for task in tasks]
    return TaskDataset(queries, labels=labels, references=references, source=source, tasks=tasks)


@attrs.frozen(kw_only=True)
class TaskOptions:
    """The tasks of a suite, and their verifier."""

    size: int = option(300, "Number of tasks in a generated suite.", at_least=1, at_most=100_000)
    difficulty: int = option(0, "Difficulty of a generated suite's tasks from 1 to 3; 0 for all in turn.", at_least=0, at_most=DIFFICULTIES)
    seed: int | None = option(None, "Seed of a generated suite; the run's seed if null.", at_least=0)
    verifier: str = option("", "Verifier instead of the suite's own: exact, numeric, choice, coverage, unit-tests, complete-program or judge.")
    judge: Mapping[str, Any] = option({}, "Options of the judge model, such as base_url, model and prices.")

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"full": {"size": 1000}}


class TaskSuites(DatasetFormat):
    """Tasks of one suite: ``tasks:mixed`` is generated, ``tasks:gsm-hard:FILE`` is read from a file."""

    Config = TaskOptions
    config: TaskOptions

    def read(self, path: str) -> TaskDataset:
        """Generate a suite, or read one in its published format.

        Args:
            path: The suite's name, and for a published suite its file after another colon (default: ``mixed``).

        Raises:
            DataError: The suite is unknown, or its file is missing or has a bad row.
        """
        name, _, file = (path or SUITES[-1]).partition(":")
        tasks = self._tasks(name, file)
        if self.config.verifier:
            verifier = self._verifier(self.config.verifier)
            tasks = [attrs.evolve(task, verifier=verifier) for task in tasks]
        return as_dataset(tasks, f"tasks:{path or name}")

    def _tasks(self, name: str, file: str) -> list[Task]:
        if name in PUBLISHED:
            return read_published(name, file)
        if name not in SUITES or file:
            known = (*SUITES, *(f"{published}:FILE" for published in PUBLISHED))
            raise DataError(f"there is no task suite {name!r}{nearest(name, (*SUITES, *PUBLISHED))} (there are: {one_of(known)})")
        seed = self.services.seed if self.config.seed is None else self.config.seed
        return load_suite(name, seed=seed, size=self.config.size, difficulty=self.config.difficulty or None)

    def _verifier(self, name: str) -> Verifier:
        if name != JUDGE:
            return named(name)
        model = ChatModel(configure(ModelConfig, self.config.judge, where=JUDGE), self.services)

        async def ask(prompt: str) -> str:
            return (await model.ask(prompt)).text

        return Judge(ask)
