"""The training of an orchestrator. This is the work of ``aamc train --orchestrator``.

Its folder resembles a run's: ``run.yaml`` holds the settings, ``orchestrator/`` the trained orchestrator.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from aamc_experiments.data import about_split, check_unchanged, read_dataset, split_rows
from aamc_experiments.leak_guard import checkpoint_fingerprints, fingerprint_of, leave_out_trained_rows
from aamc_experiments.run_folder import LASTING_ERRORS, Goal, RunFolder
from aamc_experiments.settings import Settings, Source
from aamc_experiments.setup import dataset_readers
from aamc_sdk.config import Choice, configure, unstructure
from aamc_sdk.errors import CheckpointError, ConfigError, DataError
from aamc_sdk.interfaces import Orchestrator, Progress, Services, Training
from aamc_sdk.messages import component_errors
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import find_pool
from aamc_sdk.serving import ORCHESTRATOR, Run, make_services, trained_name
from aamc_sdk.storage import RESUME_FOLDER, TRAINING, is_complete, load_component, locked, read_json_object, save_component
from aamc_sdk.types import Dataset, Pool, normalized_text

ROUTER_SETTINGS = ("router", "estimator", "environment", "reward", "test_dataset", "routers", "preference", "evaluation")
"""Settings without a meaning for orchestrators."""


class OrchestratorTraining:
    """One training of the orchestrator that settings name, in its folder, which holds an interrupted training if ``resumed``."""

    def __init__(self, settings: Settings, plugins: Plugins, folder: Path, progress: Progress, *, resumed: bool = False) -> None:
        self.settings = settings.with_absolute_paths(plugins.names("model_pool"))
        self.choice = _choice(self.settings)
        self.plugins = plugins
        self.run = RunFolder(folder)
        self.progress = progress
        self.resumed = resumed

    @classmethod
    def resume(cls, folder: Path, plugins: Plugins, progress: Progress) -> OrchestratorTraining:
        """Return the interrupted training of a folder.

        Raises:
            CheckpointError: The folder holds no training, or a damaged one.
        """
        run = RunFolder.open(folder)
        return cls(run.settings, plugins, run.folder, progress, resumed=True)

    def complete(self) -> dict[str, Any]:
        """Train, unless the folder holds a complete orchestrator, and return the metrics of the training.

        Raises:
            OutputError: The folder holds something already, or another process writes it.
        """
        with locked(self.run.folder):
            if not self.resumed:
                self.run.refuse_to_overwrite()
            folder = self.run.folder / ORCHESTRATOR
            if not is_complete(folder):
                self._train(folder)
            return read_json_object(folder / TRAINING)

    def _train(self, folder: Path) -> None:
        trained_with = self.resumed and self.settings.pool  # the folder's copy counts: the file may have changed
        pool = self.run.pool if trained_with else find_pool(self.settings.pool or "default", self.plugins)
        services = make_services(pool, self.plugins, self.settings)
        component = self._component(services)
        splits = read_tasks(self.settings, self.plugins, services)
        if self.resumed:
            check_unchanged(splits, self.run.splits, self.run.folder)
        resumable = folder / RESUME_FOLDER
        training = Training(
            dataset=splits["train"],
            validation=splits.get("validation"),
            folder=resumable,
            resume=resumable.is_dir(),
            progress=self.progress,
            budget_usd=math.inf if self.settings.budget_usd is None else self.settings.budget_usd,
        )
        with component_errors(f"{component.message_name} failed", passes=OSError):
            component.prepare(training)
        self._begin(component, services.pool, splits)
        try:
            with component_errors(f"{component.message_name} failed", passes=OSError):
                metrics = component.train(training)
        except LASTING_ERRORS:
            if not self.resumed:
                self.run.discard_unless_begun(ORCHESTRATOR)
            raise
        save_component(folder, ORCHESTRATOR, self.choice.name, component, self.plugins, metrics)

    def _component(self, services: Services) -> Orchestrator:
        """Return the orchestrator to train: a new one, or the trained one that the settings continue."""
        start = self.settings.continue_from
        if start is None:
            made: Orchestrator = self.plugins.make(ORCHESTRATOR, self.choice.name, services, self.choice.options, self.settings.preset)
            return made
        trained: Orchestrator = load_component(Path(start) / ORCHESTRATOR, ORCHESTRATOR, self.plugins, services, self.choice.options)
        return trained

    def _begin(self, component: Orchestrator, pool: Pool, splits: Mapping[str, Dataset]) -> None:
        """Write ``run.yaml`` and the files next to it."""
        details = {
            "router": "",
            ORCHESTRATOR: self.choice.name,
            "goal": Goal.ORCHESTRATOR.value,
            "settings": {key: value for key, value in self.settings.to_dict().items() if key not in ROUTER_SETTINGS},
            "resolved": {ORCHESTRATOR: unstructure(component.config)},
            "source": splits["train"].source,
            "splits": {name: about_split(split) for name, split in splits.items()},
        }
        start = self.settings.continue_from
        fingerprints = [fingerprint_of(splits), *([] if start is None else checkpoint_fingerprints([Path(start) / ORCHESTRATOR], strict=False))]
        self.run.begin(self.settings, pool if self.settings.pool else None, None, details, fingerprints)


def _choice(settings: Settings) -> Choice:
    if settings.orchestrator is None:
        raise ConfigError("the settings name no orchestrator to train; add --orchestrator NAME")
    return settings.orchestrator


def with_default_dataset(settings: Settings, plugins: Plugins) -> Settings:
    """Return the settings with the orchestrator's default dataset; options of the settings' dataset are kept.

    Raises:
        ConfigError: The orchestrator has no default dataset.
    """
    name = _choice(settings).name
    default: str | None = plugins.load(ORCHESTRATOR, name).default_dataset
    if default is None:
        raise ConfigError(f"orchestrator {name!r} has no default dataset; name one with --dataset FORMAT:PATH")
    return attrs.evolve(settings, dataset=attrs.evolve(Source.of(default, "dataset"), options=settings.dataset.options))


def with_start(settings: Settings) -> Settings:
    """Return the settings with the name, preset and pool of the orchestrator that they continue, and an absolute path to it.

    Raises:
        CheckpointError: The folder holds no trained orchestrator, or another one.
    """
    if settings.continue_from is None:
        return settings
    folder = Path(settings.continue_from).absolute()
    trained, given = trained_name(folder), settings.orchestrator or Choice("")
    if given.name not in ("", trained):
        raise CheckpointError(f"{folder} holds the orchestrator {trained!r}, not {given.name!r}; leave --orchestrator or --from out")
    before = Run.open(folder).settings
    pool = settings.pool or (str(folder / "pool.yaml") if before.pool else None)
    return attrs.evolve(settings, continue_from=str(folder), orchestrator=attrs.evolve(given, name=trained), preset=before.preset, pool=pool)


def check_options(settings: Settings, plugins: Plugins) -> None:
    """Check the orchestrator's name and options, before the data is read.

    Raises:
        ConfigError: An option is unknown or not valid, or the orchestrator has no training.
        UnknownComponentError: No plugin offers the orchestrator.
    """
    choice = _choice(settings)
    orchestrator = plugins.load(ORCHESTRATOR, choice.name)
    if orchestrator.train is Orchestrator.train:
        use = f"aamc orchestrate TASK --orchestrator {choice.name}"
        raise ConfigError(f"orchestrator {choice.name!r} has no training; use it without: {use}")
    configure(orchestrator.Config, choice.options, preset=settings.preset, where=choice.name)


def read_tasks(settings: Settings, plugins: Plugins, services: Services) -> dict[str, Dataset]:
    """Read the dataset; divide it, unless it is divided already or is a log, 70/10/20 by a hash of seed and text.

    Equal texts stay together, but near-duplicates may be in different splits: the tasks of one suite are similar by design.

    Raises:
        DataError: The dataset or a split of it has no rows.
    """
    read = read_dataset(settings.dataset, dataset_readers(settings, plugins, services))
    if isinstance(read, Mapping):
        return dict(read)
    if read.experience is not None:
        return {"train": read}  # few episodes are judged, and each teaches; new tasks measure what was learned
    rows = split_rows([normalized_text(query.text) for query in read.queries], settings.seed)
    return {name: read.take(found) for name, found in rows.items()}


def read_evaluation_tasks(folder: Path | None, source: Source | None, plugins: Plugins, services: Services) -> Dataset:
    """Read the tasks to evaluate an orchestrator on: its own test tasks, or others. Tasks that it was trained on are left out.

    Near-duplicates of these stay, as :func:`read_tasks` keeps only equal texts together. An untrained orchestrator has no folder.

    Raises:
        ConfigError: There is neither a training nor a source.
        DataError: There are no test tasks, they have changed since the training, or all were trained on.
    """
    run = None if folder is None else RunFolder.open(folder)
    if source is not None:
        read = read_dataset(source, lambda _: plugins.make("dataset", source.name, services, source.options))
        rows: Dataset = read["test"] if isinstance(read, Mapping) else read
        fingerprints = [] if run is None else checkpoint_fingerprints([run.folder / ORCHESTRATOR], strict=False)
    elif run is None:
        raise ConfigError("there is no trained orchestrator with test tasks of its own; name tasks with --dataset FORMAT:PATH, such as nq:test.jsonl")
    else:
        splits = read_tasks(run.settings, plugins, services)
        if "test" not in splits:
            raise DataError(f"{run.folder} was trained on a log and has no test tasks; name some with --dataset FORMAT:PATH, such as nq:test.jsonl")
        rows = splits["test"]
        check_unchanged({"test": rows}, run.splits, run.folder)
        fingerprints = run.fingerprints if run.content.get("fingerprints") else [fingerprint_of(splits)]
    return leave_out_trained_rows(rows, fingerprints, strict=False, near_duplicates=False).rows
