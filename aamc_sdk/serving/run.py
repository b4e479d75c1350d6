"""A run's folder: what is written there, and how it is read again."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from aamc_sdk.config import ServingSettings, load_yaml
from aamc_sdk.errors import CheckpointError, ConfigError, PoolError, PreferenceError, one_of
from aamc_sdk.interfaces import Estimator, Router, Services
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import pool_from
from aamc_sdk.serving.services import make_services
from aamc_sdk.storage import COMPONENT, component_of, is_complete, load_part, read_json
from aamc_sdk.types import Floats, Pool, Preference

EVALUATION = "evaluation"
"""The goal of a folder that holds another run's evaluation."""
ORCHESTRATOR = "orchestrator"
"""The goal of a folder that holds a trained orchestrator, and where in it that is."""
RUN_KEYS = {"schema", "settings", "router", "goal", "versions"}
"""What every ``run.yaml`` has, from its first key to its last."""

R = TypeVar("R", bound="Run")


class Run:
    """A run's folder.

    Args:
        folder: Where it is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def open(cls: type[R], folder: str | Path) -> R:
        """Return a finished run, or one that was at least begun.

        Raises:
            CheckpointError: There is none; the message has the command that makes one.
        """
        path = Path(folder)
        if not (path / "run.yaml").is_file():
            raise CheckpointError(f"{folder} is not a run's folder; make a run with: aamc run --router ppo --estimator tce")
        return cls(path.resolve())

    def refuse_orchestrator(self) -> None:
        """Raise where the folder is not about routers.

        Raises:
            CheckpointError: It holds an orchestrator.
        """
        if self.content["goal"] == ORCHESTRATOR:
            raise CheckpointError(f"{self.folder} holds an orchestrator and no router; put it to work by: aamc orchestrate TASK --run {self.folder}")

    def refuse_evaluation(self) -> None:
        """Raise where the folder holds no parts of its own.

        Raises:
            CheckpointError: It is an evaluation of another run, which the message names, or holds an orchestrator.
        """
        self.refuse_orchestrator()
        if self.content["goal"] == EVALUATION:
            raise CheckpointError(f"{self.folder} holds an evaluation and no router; name the run that it evaluates, {self.content['evaluates']}")

    @cached_property
    def content(self) -> dict[str, Any]:
        """What ``run.yaml`` holds."""
        try:
            content = load_yaml(self.folder / "run.yaml")
        except ConfigError as error:
            raise CheckpointError(f"{self.folder} cannot be read: {error}") from error
        if content.get("schema", 1) != 1:
            raise CheckpointError(f"{self.folder / 'run.yaml'} has schema {content['schema']!r}, not 1: it was made by another version; train again")
        if lacking := RUN_KEYS - content.keys():
            raise CheckpointError(f"{self.folder / 'run.yaml'} is damaged, for it lacks {one_of(lacking)}: train again")
        return content

    @cached_property
    def settings(self) -> ServingSettings:
        """The choices that serving the run needs."""
        try:
            return ServingSettings.of(self.content["settings"])
        except (ConfigError, PreferenceError) as error:
            raise CheckpointError(f"{self.folder / 'run.yaml'} cannot be used: {error}") from error

    @cached_property
    def pool(self) -> Pool:
        """The candidates."""
        path = self.folder / "pool.yaml"
        try:
            return pool_from(load_yaml(path), str(path))
        except (ConfigError, PoolError) as error:
            raise CheckpointError(f"{error}; the run is damaged: train again") from error

    @property
    def router_name(self) -> str:
        """The name of the router that the run is about."""
        return str(self.content["router"])

    @property
    def router_names(self) -> list[str]:
        """The routers that it compared, or trained, in that order.

        Raises:
            CheckpointError: It is an evaluation of another run, and holds none.
        """
        self.refuse_evaluation()
        return list(self.content.get("resolved", {}).get("routers", {}))

    @property
    def calibrations(self) -> dict[str, Any]:
        """What ``aamc calibrate`` kept, by name."""
        path = self.folder / "calibrations.json"
        return dict(read_json(path)) if path.exists() else {}

    @property
    def calibrated_preferences(self) -> dict[str, Preference]:
        """The preferences that can be asked for by name."""
        return {name: Preference(*found["preference"]) for name, found in self.calibrations.items()}

    def preference(self, text: str | None) -> Preference:
        """Return the preference that a user gave: weights, the name of a calibrated one, or None for the run's own.

        Raises:
            PreferenceError: It is neither.
        """
        return self.settings.preference if text is None else Preference.parse(text, self.calibrated_preferences)

    @property
    def store_url(self) -> str:
        """Where its decisions are logged."""
        return f"sqlite:{self.folder / 'log.db'}"

    def services(self, plugins: Plugins) -> Services:
        """Return what the run's parts are made with, its reward's scales included.

        Raises:
            CheckpointError: It is an evaluation of another run, and holds no parts.
        """
        self.refuse_evaluation()
        reward = plugins.make("reward", self.settings.reward.name, make_services(self.pool, plugins, self.settings), self.settings.reward.options)
        reward.load(self.folder)
        return make_services(self.pool, plugins, self.settings, reward)

    def estimator(self, plugins: Plugins, services: Services) -> Estimator | None:
        """Return the run's estimator, or None where it has none."""
        if self.settings.estimator is None:
            return None
        part: Estimator = load_part(self.folder / "estimator", "estimator", plugins, services)
        return part

    def router(self, plugins: Plugins, services: Services, name: str | None = None) -> Router:
        """Return one of the run's routers, by default the one it is about.

        Raises:
            CheckpointError: It does not hold that router.
        """
        wanted = self.router_name if name is None else name
        if wanted not in self.router_names:
            raise CheckpointError(f"{self.folder} holds no router {wanted!r} (it holds: {one_of(self.router_names)})")
        if not is_complete(self.folder / "routers" / wanted):
            raise CheckpointError(f"router {wanted!r} of {self.folder} is incomplete; go on with its training by --resume {self.folder}")
        part: Router = load_part(self.folder / "routers" / wanted, "router", plugins, services)
        return part

    @property
    def candidate_means(self) -> Floats:
        """The candidates' mean training quality, cost in USD and latency in ms, ``[M, 3]``."""
        path = self.folder / "candidates.json"
        saved = read_json(path)
        if not isinstance(saved, dict) or set(saved) != set(self.pool.names):
            raise CheckpointError(f"{path} and pool.yaml beside it name different candidates: one is another run's; train again")
        return np.array([saved[name] for name in self.pool.names], dtype=np.float64)  # null becomes NaN


def find_checkpoint(name: str, kind: str) -> Path | None:
    """Return the folder that ``--router`` or ``--estimator`` names, or None for a component's name.

    A run's folder stands for its own router or estimator. A folder without a checkpoint that happens
    to have a component's name does not stand in its way.

    Raises:
        CheckpointError: It is a path without a checkpoint, or the folder of an evaluation.
    """
    folder = Path(name)
    if is_complete(folder):
        return folder
    if (folder / "run.yaml").is_file():
        Run(folder).refuse_evaluation()
        return folder / "estimator" if kind == "estimator" else folder / "routers" / Run(folder).router_name
    if "/" in name:
        raise CheckpointError(f"{name} holds no {kind} checkpoint; name one, a run's folder, or a folder with a {COMPONENT}")
    return None


def part_name(name: str, kind: str) -> str:
    """Return the component's name of a choice, which may be a checkpoint's folder."""
    folder = find_checkpoint(name, kind)
    return name if folder is None else str(component_of(folder, kind)["name"])
