"""Dataset format ``tasks``: task suites, generated or in their published formats."""

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
from aamc_puppeteer.testbed.suites import DIFFICULTIES, MIXED, SUITES, TOOLS, load_suite
from aamc_sdk import Dataset, DatasetFormat, Labels, Query, option
from aamc_sdk.config import configure
from aamc_sdk.errors import DataError, nearest, one_of


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
class SuiteOptions:
    """The verifier of a suite's tasks, and the tasks of a generated suite."""

    verifier: str = option("", "Verifier instead of the suite's own: exact, numeric, choice, coverage, unit-tests, complete-program or judge.")
    judge: Mapping[str, Any] = option({}, "Options of the judge model, such as endpoint, model and prices.")
    unconfined: bool = option(False, "Run unit tests also where the kernel does not confine programs: only programs that you trust.")
    size: int = option(300, "Number of tasks in a generated suite.", at_least=1, at_most=100_000)
    difficulty: int = option(0, "Difficulty of a generated suite's tasks from 1 to 3; 0 for all in turn.", at_least=0, at_most=DIFFICULTIES)
    seed: int | None = option(None, "Seed of a generated suite; the run's seed if null.", at_least=0)

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"full": {"size": 1000}}


class TaskSuites(DatasetFormat):
    """Tasks of one suite: ``tasks:mixed`` is generated, ``tasks:gsm-hard:FILE`` is read from a file."""

    Config = SuiteOptions
    config: SuiteOptions

    def read(self, path: str) -> TaskDataset:
        """Generate a suite, or read a published one.

        Args:
            path: The suite's name, and for a published suite its file after another colon (default: ``mixed``).

        Raises:
            DataError: The suite is unknown, or its file is missing or has a bad row.
        """
        name, _, file = (path or MIXED).partition(":")
        dataset = self._suite(name, file)
        if not self.config.verifier:
            return dataset
        verifier = self._verifier(self.config.verifier)
        return attrs.evolve(dataset, tasks=[attrs.evolve(task, verifier=verifier) for task in dataset.tasks])

    def _suite(self, name: str, file: str) -> TaskDataset:
        config = self.config
        if name in SUITES and not file:
            seed = self.services.seed if config.seed is None else config.seed
            tasks = load_suite(name, seed=seed, size=config.size, difficulty=config.difficulty or None)
            return as_dataset(tasks, f"tasks:{name}", TOOLS)
        if name in PUBLISHED:
            return as_dataset(read_published(name, file), f"tasks:{name}:{file}")
        suites = (*SUITES, *(f"{published}:FILE" for published in PUBLISHED))
        raise DataError(f"there is no task suite {name!r}{nearest(name, (*SUITES, *PUBLISHED))} (there are: {one_of(suites)})")

    def _verifier(self, name: str) -> Verifier:
        if name == "unit-tests":
            check_confined(self.config.unconfined, "dataset.unconfined")
            return UnitTests(limits=SandboxLimits(unconfined=self.config.unconfined))
        if name != JUDGE:
            return named(name)
        model = ChatModel(configure(ModelConfig, self.config.judge, where=JUDGE), self.services)
        model.check()
        return ModelVerifier(model.ask, has_prices=not math.isnan(model.max_cost_usd(0)))
