"""Dataset format ``tasks``: task suites, generated or in their published formats."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
from aamc_agents.models import ChatModel, ModelConfig
from aamc_agents.sandbox import SandboxLimits, check_confined
from aamc_agents.tasks import Task, Verifier
from aamc_datasets.columns import parquet_rows
from aamc_datasets.json_rows import parse_rows, require, text
from aamc_datasets.recognition import existing

from aamc_puppeteer.tasks.verifiers import JUDGE, CompleteProgram, Coverage, ModelVerifier, MultipleChoice, Numeric, UnitTests, named
from aamc_puppeteer.testbed.suites import DIFFICULTIES, MIXED, SUITES, TOOLS, load_suite
from aamc_sdk import Dataset, DatasetFormat, Labels, Query, option
from aamc_sdk.config import configure
from aamc_sdk.errors import DataError
from aamc_sdk.messages import nearest, one_of
from aamc_sdk.storage import csv_rows, json_lines


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
    unconfined: bool = option(False, "Run unit tests even if the kernel cannot confine programs. Use it only for programs that you trust.")
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
        if name in SUITES:
            if file:
                raise DataError(f"there is no task suite '{name}:{file}': {name!r} is generated, and reads no file")
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


LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
Row = Mapping[str, Any]


def gsm_hard(task_id: str, row: Row) -> Task:
    """Read a row of GSM-Hard (arXiv 2211.10435): ``input``, ``code`` and ``target``, a number."""
    require(row, ("input", "target"))
    if isinstance(row["target"], bool) or not isinstance(row["target"], int | float):
        raise DataError(f"'target' must be a number, not {row['target']!r:.80}")
    return Task(id=task_id, text=text(row, "input"), kind="gsm-hard", verifier=Numeric(absolute=1e-3, relative=0.0), reference=repr(row["target"]))


def mmlu_pro(task_id: str, row: Row) -> Task:
    """Read a row of MMLU-Pro (arXiv 2406.01574): ``question``, ``options``, ``answer`` (a letter), ``answer_index`` and ``category``."""
    require(row, ("question", "options", "answer", "answer_index"))
    options, answer = row["options"], row["answer"]
    if not isinstance(options, list) or not 2 <= len(options) <= len(LETTERS):
        raise DataError(f"'options' must be a list of 2 to {len(LETTERS)} texts, not {options!r:.80}")
    if not isinstance(row["answer_index"], int) or not 0 <= row["answer_index"] < len(options) or answer != LETTERS[row["answer_index"]]:
        raise DataError(f"'answer' and 'answer_index' must name the same one of {len(options)} options, not {answer!r} and {row['answer_index']!r}")
    listed = "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))
    asked = f"{text(row, 'question')}\n{listed}\nSay the letter of the right answer."
    return Task(id=task_id, text=asked, kind="mmlu-pro", verifier=MultipleChoice(), reference=answer)


def srdd(task_id: str, row: Row) -> Task:
    """Read a row of SRDD (arXiv 2307.07924): ``Name``, ``Description`` and ``Category`` of a piece of software. It has no correct answer."""
    require(row, ("Name", "Description", "Category"))
    asked = f"Write a Python program, {text(row, 'Name')}, that fits this description:\n{text(row, 'Description')}"
    return Task(id=task_id, text=asked, kind="srdd", verifier=CompleteProgram())


def commongen_hard(task_id: str, row: Row) -> Task:
    """Read a row of CommonGen-Hard (arXiv 2303.17651): ``concepts``, a list of 20 to 30 words."""
    require(row, ("concepts",))
    concepts = row["concepts"]
    if not isinstance(concepts, list) or not concepts or not all(isinstance(word, str) and word.strip() and "," not in word for word in concepts):
        raise DataError(f"'concepts' must be a list of words, not {concepts!r:.80}")
    words = ", ".join(concepts)
    asked = f"Write a coherent and grammatical text that uses all of these words as they stand: {words}."
    return Task(id=task_id, text=asked, kind="commongen-hard", verifier=Coverage(), reference=words)


PUBLISHED: Mapping[str, Callable[[str, Row], Task]] = {
    "gsm-hard": gsm_hard,
    "mmlu-pro": mmlu_pro,
    "srdd": srdd,
    "commongen-hard": commongen_hard,
}
"""Converts a row into a task, by the suite's name. SRDD has no references: its verifier checks the form alone."""


def read_published(name: str, path: str) -> list[Task]:
    """Return the tasks of a file in its published format: JSON lines, Parquet or CSV."""
    file = existing(path, "file of JSON lines, Parquet or CSV")
    if file.suffix not in _READERS:
        raise DataError(f"{file} must end with one of {one_of(_READERS)}")
    rows = ((f"{file}, row {number}", (f"{name}-{number}", row)) for number, row in _READERS[file.suffix](file))
    return parse_rows(file, rows, lambda task: PUBLISHED[name](*task))


_READERS: Mapping[str, Callable[[Path], Iterator[tuple[int, Any]]]] = {
    ".jsonl": json_lines,
    ".csv": lambda file: enumerate((row for _, row in csv_rows(file)), start=1),
    ".parquet": lambda file: enumerate(parquet_rows(file), start=1),
}
"""Yields the rows of a file with their numbers, by its suffix."""
