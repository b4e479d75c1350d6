"""The training of an orchestrator, as ``aamc train --orchestrator`` does it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from aamc_experiments.data import about_split, check_unchanged, split_rows
from aamc_experiments.run_folder import RunFolder
from aamc_experiments.settings import Settings, Source
from aamc_experiments.setup import dataset_readers
from aamc_sdk.config import configure, unstructure
from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import Orchestrator, Progress, Services, Training
from aamc_sdk.plugins import Plugins
from aamc_sdk.serving import ORCHESTRATOR, orchestrator_services
from aamc_sdk.storage import RESUME, is_complete, locked, read_json, save_part
from aamc_sdk.types import Dataset, question

OF_ROUTERS = ("router", "estimator", "environment", "reward", "test_dataset", "routers", "preference", "evaluation")
"""Settings that an orchestrator does not have."""


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
        self.run = RunFolder(folder)
        self.progress = progress
        self.resumed = resumed

    @classmethod
    def resume(cls, folder: Path, plugins: Plugins, progress: Progress) -> OrchestratorTraining:
        """Return an interrupted training."""
        run = RunFolder.open(folder)
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
        services = orchestrator_services(self.settings, self.plugins, self.settings.pool)
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
