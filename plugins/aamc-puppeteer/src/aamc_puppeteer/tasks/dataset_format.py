"""Task suites as datasets; suites in their published formats."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import attrs
import numpy as np
from aamc_agents.models import ChatModel, ModelConfig
from aamc_agents.sandbox import SandboxLimits, check_confined
from aamc_agents.tasks import Task, Verifier

from aamc_puppeteer.tasks.published_tasks import PUBLISHED, read_published
from aamc_puppeteer.tasks.verifiers import JUDGE, ModelVerifier, UnitTests, named
from aamc_sdk import Dataset, DatasetFormat, Labels, Query, option
from aamc_sdk.config import configure
from aamc_sdk.errors import DataError, nearest, one_of

DIFFICULTIES = 3
"""Number of difficulties of a generated suite's tasks."""


@attrs.frozen(eq=False)
class TaskDataset(Dataset):
    """A dataset whose rows are tasks.

    Attributes:
        tasks: Each row's task, with its verifier.
        agents: Names of the agents that the tasks are made for; empty if they are for any agents.
    """

    row_fields = ("tasks",)
    tasks: Sequence[Task] = ()
    agents: tuple[str, ...] = ()


def as_dataset(tasks: Sequence[Task], source: str, agents: tuple[str, ...] = ()) -> TaskDataset:
    """Return tasks as a dataset: texts as queries, kinds as categories, difficulties as complexity, answers as references."""
    labels = Labels(
        complexity=np.array([(task.difficulty - 1) / (DIFFICULTIES - 1) for task in tasks]),
        category=np.array([task.kind for task in tasks], dtype=np.str_),
    )
    queries, references = [Query(task.text) for task in tasks], [task.reference or "" for task in tasks]
    return TaskDataset(queries, labels=labels, references=references, source=source, tasks=tasks, agents=agents)


@attrs.frozen(kw_only=True)
class VerifierOptions:
    """The verifier of a suite's tasks."""

    verifier: str = option("", "Verifier instead of the suite's own: exact, numeric, choice, coverage, unit-tests, complete-program or judge.")
    judge: Mapping[str, Any] = option({}, "Options of the judge model, such as endpoint, model and prices.")
    unconfined: bool = option(False, "Run unit tests also where the kernel does not confine programs: only programs that you trust.")


class PublishedSuites(DatasetFormat):
    """Tasks of one suite, read from its published file: ``tasks:gsm-hard:FILE``.

    Attributes:
        suites: The suites' names, as users type them.
    """

    Config: ClassVar[type] = VerifierOptions
    config: VerifierOptions
    suites: ClassVar[tuple[str, ...]] = tuple(f"{name}:FILE" for name in PUBLISHED)

    def read(self, path: str) -> TaskDataset:
        """Read a suite.

        Args:
            path: The suite's name and its file, with a colon between them.

        Raises:
            DataError: The suite is unknown, or its file is missing or has a bad row.
        """
        name, _, file = path.partition(":")
        dataset = self._suite(name, file)
        if not self.config.verifier:
            return dataset
        verifier = self._verifier(self.config.verifier)
        return attrs.evolve(dataset, tasks=[attrs.evolve(task, verifier=verifier) for task in dataset.tasks])

    def _suite(self, name: str, file: str) -> TaskDataset:
        if name not in PUBLISHED:
            names = [suite.partition(":")[0] for suite in self.suites]
            raise DataError(f"there is no task suite {name!r}{nearest(name, names)} (there are: {one_of(self.suites)})")
        return as_dataset(read_published(name, file), f"tasks:{name}:{file}")

    def _verifier(self, name: str) -> Verifier:
        if name == "unit-tests":
            check_confined(self.config.unconfined, "dataset.unconfined")
            return UnitTests(limits=SandboxLimits(unconfined=self.config.unconfined))
        if name != JUDGE:
            return named(name)
        model = ChatModel(configure(ModelConfig, self.config.judge, where=JUDGE), self.services)
        model.check()
        return ModelVerifier(model.ask, has_prices=not math.isnan(model.max_cost_usd(0)))
