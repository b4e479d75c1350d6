"""Orchestrators on the command line: the contract of ``aamc orchestrate``, and the training of ``aamc train --orchestrator``.

Any orchestrator works: its steps are shown, counted and kept. One that derives from :class:`TeamOrchestrator` also takes
agents, files and documents, and describes its episodes in its own format. A training's folder is like a run's:
``run.yaml`` has its settings, ``orchestrator/`` the trained part.
"""

from __future__ import annotations

import abc
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from aamc_sdk.checkpoints import COMPONENT, RESUME, component_of, is_complete, load_part, save_part
from aamc_sdk.config import configure, option, unstructure
from aamc_sdk.dataset import Dataset, question, split_rows
from aamc_sdk.errors import CheckpointError, ConfigError, OutputError
from aamc_sdk.files import plain, read_json
from aamc_sdk.folders import locked
from aamc_sdk.interfaces import Budget, Orchestrator, Progress, Services, Step, Training
from aamc_sdk.plugins import Plugins
from aamc_sdk.pools import find_pool
from aamc_sdk.runs import ORCHESTRATOR, Run
from aamc_sdk.services import bare_services
from aamc_sdk.settings import Settings, Source, read_settings
from aamc_sdk.splits import about_split, check_unchanged
from aamc_sdk.types import Pool, Query
from aamc_sdk.world import dataset_readers

DEFAULT = "puppeteer"
"""The orchestrator that works where none is named and none was trained."""
OF_ROUTERS = ("router", "estimator", "environment", "reward", "test_dataset", "routers", "preference", "evaluation")
"""Settings that an orchestrator does not have."""


@attrs.frozen
class TaskQuery(Query):
    """A query with material for agents.

    Attributes:
        files: Texts that agents may read, by file name.
        documents: Documents that agents may search.
    """

    files: Mapping[str, str] = attrs.field(factory=dict, kw_only=True)
    documents: tuple[str, ...] = attrs.field(default=(), kw_only=True)


@attrs.frozen(kw_only=True)
class WorkOptions:
    """The options of ``aamc orchestrate`` in files and in ``--set``."""

    agent_options: Mapping[str, Mapping[str, Any]] = option({}, "options of agents, by the agent's name")


@attrs.frozen(kw_only=True)
class TeamOptions:
    """The agents of an orchestration.

    Attributes:
        agents: Names of the agents; those of the training when None.
        agent_options: Options of agents, by the agent's name; they override those of the training one by one.
        paths: Maximum number of parallel paths; as trained when None.
    """

    agents: Sequence[str] | None = None
    agent_options: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    paths: int | None = None


class Session:
    """One task that an orchestrator works on: iterate over :meth:`steps`, then read the result.

    Args:
        orchestrator: Works on the task.
        task: The task.
        budget: Limits of the work.

    Attributes:
        answer: The answer: the content of the final step, else of the last one; None if it is empty or there is no step.
        stop: Why the work ended: ``answered``, ``out_of_budget`` or ``truncated``.
    """

    def __init__(self, orchestrator: Orchestrator, task: Query, budget: Budget) -> None:
        self.orchestrator, self.task, self.budget = orchestrator, task, budget
        self.answer: str | None = None
        self.stop = "truncated"
        self._taken: list[Step] = []

    @property
    def cost_usd(self) -> float:
        """Cost of all steps in USD."""
        return sum(step.cost_usd for step in self._taken)

    @property
    def count(self) -> int:
        """Number of steps."""
        return len(self._taken)

    async def steps(self) -> AsyncIterator[Step]:
        """Work on the task, yielding each step as it is done."""
        async for step in self.orchestrator.run(self.task, self.budget):
            self._taken.append(step)
            self.answer = step.content or None
            if step.final:
                self.stop = "answered"
            elif self.cost_usd >= self.budget.cost_usd:
                self.stop = "out_of_budget"
            yield step

    def describe(self, step: Step) -> Sequence[Any]:
        """Return the lines that the terminal shows for a step."""
        agent = "" if step.decision is None else f"{step.decision.candidate}  "
        return [f"{agent}{' '.join(step.content.split())}  {step.cost_usd:.3g} USD"]

    def overview(self) -> Any | None:
        """Return what the terminal shows after the work besides the answer; None for nothing."""
        return None

    def ending(self) -> str:
        """Return why the work ended, in words."""
        return self.stop.replace("_", " ")

    def document(self) -> dict[str, Any]:
        """Return ``stop`` and ``steps`` in plain JSON values."""
        return {"stop": self.stop, "steps": [_document(step) for step in self._taken]}

    def keep(self, path: Path) -> None:
        """Append the episode to a file as a line of JSON.

        Raises:
            OutputError: The file cannot be written.
        """
        document = {"schema": 1, "task": self.task.text, "answer": self.answer, "cost_usd": self.cost_usd, **self.document()}
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(plain(document), default=repr, allow_nan=False) + "\n")
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}; choose another file with --trajectory") from error

    def check_drawing(self) -> None:
        """Check, before the work, that :meth:`draw` can work.

        Raises:
            ConfigError: The orchestrator draws nothing, or a library is missing.
        """
        raise ConfigError(f"{type(self.orchestrator).__name__} draws no graph; leave --graph out")

    def draw(self, path: Path) -> None:
        """Draw the order of the agents as PNG."""
        self.check_drawing()


def _document(step: Step) -> dict[str, Any]:
    return {
        "agent": None if step.decision is None else step.decision.candidate,
        "output": {"content": step.content, "cost": step.cost_usd, "metadata": {"tokens": step.tokens}},
        "fault": None,
        "error": None,
        "seconds": None,
        "cost": step.cost_usd,
    }


class TeamOrchestrator(Orchestrator):
    """An orchestrator of agents that ``aamc orchestrate`` may give other agents, files and documents."""

    @classmethod
    @abc.abstractmethod
    def untrained_options(cls, team: TeamOptions) -> Mapping[str, Any]:
        """Return the options with which an untrained orchestrator works.

        Raises:
            CheckpointError: It does not work untrained with these agents; the message has the command that trains it.
            ConfigError: An option needs training.
        """

    @abc.abstractmethod
    def set_team(self, team: TeamOptions) -> None:
        """Replace agents, their options and the number of paths.

        Raises:
            ConfigError: An option is unknown or wrong.
        """

    @property
    @abc.abstractmethod
    def default_steps(self) -> int:
        """Maximum number of steps of a task unless the user gives one."""

    @abc.abstractmethod
    def session(self, task: Query, budget: Budget) -> Session:
        """Return the work on a task, before its first step. The task may be a :class:`TaskQuery`."""

    def close(self) -> None:
        """Release threads and connections."""


class OrchestratorTraining:
    """A training of an orchestrator, and its folder.

    Args:
        settings: The settings; ``orchestrator`` is not None.
        plugins: Source of components.
        folder: The folder to write.
        progress: Receives the progress.
        resumed: Whether the folder has an interrupted training.
    """

    def __init__(self, settings: Settings, plugins: Plugins, folder: Path, progress: Progress, *, resumed: bool = False) -> None:
        assert settings.orchestrator is not None
        self.settings = settings
        self.choice = settings.orchestrator
        self.plugins = plugins
        self.run = Run(folder)
        self.progress = progress
        self.resumed = resumed

    @classmethod
    def resume(cls, folder: Path, plugins: Plugins, progress: Progress) -> OrchestratorTraining:
        """Return an interrupted training."""
        run = Run.open(folder)
        return cls(run.settings, plugins, run.folder, progress, resumed=True)

    def complete(self) -> dict[str, Any]:
        """Train to the end, or read the metrics of a finished training.

        Returns:
            The metrics.

        Raises:
            OutputError: The folder has other content, or another process writes it.
        """
        with locked(self.run.folder):
            if not self.resumed:
                self.run.refuse_to_overwrite()
            folder = self.run.folder / ORCHESTRATOR
            if not is_complete(folder):
                self._train(folder)
            return dict(read_json(folder / "training.json"))

    def _train(self, folder: Path) -> None:
        services = make_services(self.settings, self.plugins)
        part: Orchestrator = self.plugins.make(ORCHESTRATOR, self.choice.name, services, self.choice.options, self.settings.preset)
        splits = read_tasks(self.settings, self.plugins, services)
        if self.resumed:
            check_unchanged(splits, self.run.content["splits"], self.run.folder)
        details = {
            "router": "",
            ORCHESTRATOR: self.choice.name,
            "goal": ORCHESTRATOR,
            "settings": {key: value for key, value in self.settings.plain().items() if key not in OF_ROUTERS},
            "resolved": {ORCHESTRATOR: unstructure(part.config)},
            "source": splits["train"].source,
            "splits": {name: about_split(split) for name, split in splits.items()},
        }
        self.run.begin(self.settings, services.pool if self.settings.pool else None, None, details)
        resumable = folder / RESUME
        metrics = part.train(
            Training(
                dataset=splits["train"],
                validation=splits["validation"],
                folder=resumable,
                resume=resumable.is_dir(),
                progress=self.progress,
            )
        )
        save_part(folder, ORCHESTRATOR, self.choice.name, part, self.plugins, metrics)


def make_services(settings: Settings, plugins: Plugins, pool: Pool | None = None) -> Services:
    """Return the services of an orchestrator.

    Args:
        settings: Pool, preset, seed and device.
        plugins: Source of components.
        pool: The candidates (default: the pool in the settings, else the default pool).
    """
    return bare_services(pool or find_pool(settings.pool or "default", plugins), plugins, settings)


def choose_dataset(settings: Settings, plugins: Plugins) -> Settings:
    """Return the settings with the orchestrator's default dataset, keeping given options of the dataset.

    Raises:
        ConfigError: The orchestrator has no default dataset.
    """
    assert settings.orchestrator is not None
    name = settings.orchestrator.name
    default: str | None = plugins.load(ORCHESTRATOR, name).default_dataset
    if default is None:
        raise ConfigError(f"orchestrator {name!r} has no default dataset; name one with --dataset FORMAT:PATH")
    return attrs.evolve(settings, dataset=attrs.evolve(Source.of(default, "dataset"), options=settings.dataset.options))


def check_options(settings: Settings, plugins: Plugins) -> None:
    """Check the orchestrator's name and options before the training starts.

    Raises:
        ConfigError: An option is unknown or wrong.
        UnknownComponentError: No plugin offers the orchestrator.
    """
    assert settings.orchestrator is not None
    target = plugins.load(ORCHESTRATOR, settings.orchestrator.name)
    configure(target.Config, settings.orchestrator.options, preset=settings.preset, where=settings.orchestrator.name)


def read_tasks(settings: Settings, plugins: Plugins, services: Services) -> dict[str, Dataset]:
    """Read the dataset, and divide it 70/10/20 by a hash of seed and text unless it is divided already.

    Near-duplicates may be in two parts, as tasks of one suite are similar by design; the same text never is.

    Raises:
        DataError: The dataset is missing, or too small to divide.
    """
    read = dataset_readers(settings, plugins, services)(settings.dataset).read(settings.dataset.path)
    if isinstance(read, Mapping):
        return dict(read)
    rows = split_rows([question(query) for query in read.queries], settings.seed)
    return {name: read.take(found) for name, found in rows.items()}


def newest_orchestrator(runs: Path = Path("runs"), name: str | None = None) -> Path:
    """Return the folder of the orchestrator trained last.

    Args:
        runs: The folder that is searched.
        name: The orchestrator's name; any when None.

    Raises:
        CheckpointError: There is none; the message has the command that trains one.
    """
    found = [path for path in runs.glob(f"*/{ORCHESTRATOR}/{COMPONENT}") if not path.parents[1].is_symlink()]
    if name is not None:
        found = [path for path in found if component_of(path.parent, ORCHESTRATOR)["name"] == name]
    if not found:
        how = f"train one with: aamc train --orchestrator {name or DEFAULT}"
        raise CheckpointError(f"there is no trained orchestrator under {runs}; {how}, or name its folder with --run")
    return max(found, key=lambda path: path.stat().st_mtime).parents[1]


def load_orchestrator(folder: Path, plugins: Plugins) -> Orchestrator:
    """Return a trained orchestrator from its folder.

    Raises:
        CheckpointError: The folder has none, or a damaged one.
    """
    if not (is_complete(folder / ORCHESTRATOR) and (folder / "run.yaml").is_file()):
        raise CheckpointError(f"{folder} holds no trained orchestrator; train one with: aamc train --orchestrator {DEFAULT}")
    run = Run.open(folder)
    pool = run.pool if run.settings.pool else None  # the folder's copy counts: the file may have changed
    part: Orchestrator = load_part(run.folder / ORCHESTRATOR, ORCHESTRATOR, plugins, make_services(run.settings, plugins, pool))
    return part


def find_orchestrator(name: str | None, folder: Path | None, team: TeamOptions, plugins: Plugins) -> tuple[Orchestrator, Path | None]:
    """Return an orchestrator with its agents, and the folder of its training: the trained one, else an untrained one.

    Args:
        name: The orchestrator's name; when None the one trained last, else ``puppeteer``.
        folder: The folder of its training; the newest one under ``runs`` when None.
        team: Agents, options and paths in place of the training's.
        plugins: Source of orchestrators and agents.

    Raises:
        CheckpointError: The orchestrator needs a training and there is none, or the folder has another orchestrator.
        ConfigError: An option is wrong, or the orchestrator does not have it.
        UnknownComponentError: No plugin offers the orchestrator or an agent.
    """
    if folder is None:
        try:
            folder = newest_orchestrator(name=name)
        except CheckpointError:
            return _untrained(name or DEFAULT, team, plugins), None
    elif name is not None and is_complete(folder / ORCHESTRATOR):
        trained = component_of(folder / ORCHESTRATOR, ORCHESTRATOR)["name"]
        if trained != name:
            raise CheckpointError(f"{folder} has the orchestrator {trained!r}, not {name!r}; leave --orchestrator or --run out")
    part = load_orchestrator(folder, plugins)
    if isinstance(part, TeamOrchestrator):
        part.set_team(team)
    else:
        _refuse_team(type(part).__name__, team)
    return part, folder


def _untrained(name: str, team: TeamOptions, plugins: Plugins) -> Orchestrator:
    target = plugins.load(ORCHESTRATOR, name)
    if issubclass(target, TeamOrchestrator):
        options = target.untrained_options(team)
    else:
        options = {}
        _refuse_team(name, team)
    part: Orchestrator = plugins.make(ORCHESTRATOR, name, make_services(read_settings({}), plugins), options)
    return part


def _refuse_team(name: str, team: TeamOptions) -> None:
    """Raise ConfigError if agents, their options or paths are given to an orchestrator that has none."""
    given = {"--agents": team.agents is not None, "--paths": team.paths is not None, "agent_options": bool(team.agent_options)}
    if named := [option for option, present in given.items() if present]:
        raise ConfigError(f"orchestrator {name} has no option {' or '.join(named)}; leave it out")
