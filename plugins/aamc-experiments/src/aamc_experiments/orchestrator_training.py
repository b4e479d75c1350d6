"""Training an orchestrator, and finding it again. This is what ``aamc train --orchestrator`` does.

The folder is like a run's: ``run.yaml`` says what it was made from, ``orchestrator/`` holds the trained part.
"""

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
"""Settings that say nothing of an orchestrator."""


class OrchestratorTraining:
    """One training of an orchestrator, and its folder.

    Args:
        settings: What it is made of; ``orchestrator`` is named.
        plugins: Where components come from.
        folder: Where everything goes.
        progress: Where to report.
        resumed: Whether the folder holds its beginning already.
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
        """Return a training that was begun before."""
        run = RunFolder.open(folder)
        return cls(run.settings, plugins, run.folder, progress, resumed=True)

    def complete(self) -> dict[str, Any]:
        """Train to the end; what was finished before is read, not done again.

        Returns:
            What the training returned.

        Raises:
            OutputError: The folder holds something else, or another process writes it.
        """
        with locked(self.run.folder):
            if not self.resumed:
                self.run.refuse_to_overwrite()
            folder = self.run.folder / ORCHESTRATOR
            if not is_complete(folder):
                self._train(folder)
            return dict(read_json(folder / "training.json"))

    def _train(self, folder: Path) -> None:
        lent = orchestrator_services(self.settings, self.plugins)
        part: Orchestrator = self.plugins.make(ORCHESTRATOR, self.choice.name, lent, self.choice.options, self.settings.preset)
        splits = read_tasks(self.settings, self.plugins, lent)
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
        self.run.begin(self.settings, lent.pool if self.settings.pool else None, None, details)
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
    """Return the settings with the dataset that the orchestrator practises on by default, and the options that were given for one.

    Raises:
        ConfigError: It has none; the message asks for one.
    """
    assert settings.orchestrator is not None
    name = settings.orchestrator.name
    default: str | None = plugins.load(ORCHESTRATOR, name).default_dataset
    if default is None:
        raise ConfigError(f"orchestrator {name!r} needs to be told what to practise on; name it with --dataset FORMAT:PATH")
    return attrs.evolve(settings, dataset=attrs.evolve(Source.of(default, "dataset"), options=settings.dataset.options))


def check_options(settings: Settings, plugins: Plugins) -> None:
    """Raise, before anything takes time, where the orchestrator is none or its options are wrong.

    Raises:
        ConfigError: An option is unknown or wrong.
        UnknownComponentError: No plugin offers the orchestrator.
    """
    assert settings.orchestrator is not None
    target = plugins.load(ORCHESTRATOR, settings.orchestrator.name)
    configure(target.Config, settings.orchestrator.options, preset=settings.preset, where=settings.orchestrator.name)


def read_tasks(settings: Settings, plugins: Plugins, lent: Services) -> dict[str, Dataset]:
    """Read the dataset and divide it, where it is not divided, 70/10/20 by a hash of seed and text.

    Unlike queries of a log, tasks of one suite are alike by design, so that near-duplicates may be on two sides; a text never is.

    Raises:
        DataError: There is nothing to read, or too little to divide.
    """
    read = dataset_readers(settings, plugins, lent)(settings.dataset).read(settings.dataset.path)
    if isinstance(read, Mapping):
        return dict(read)
    rows = split_rows([question(query) for query in read.queries], settings.seed)
    return {name: read.take(found) for name, found in rows.items()}
