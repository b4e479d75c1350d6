"""Reading a run's folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from aamc_sdk.config import ServingSettings, load_yaml
from aamc_sdk.errors import AamcError, CheckpointError, ConfigError, DataError, PoolError, PreferenceError
from aamc_sdk.interfaces import Estimator, Router, Services
from aamc_sdk.messages import check_type, one_of, slash_hint, split_advice, unknown_name
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import pool_from_dict
from aamc_sdk.serving.services import services_with_reward
from aamc_sdk.storage import COMPONENT, RESTORE, checkpoint_metadata, is_complete, load_component, load_state, read_json_object
from aamc_sdk.types import Floats, Pool, Preference, json_figures, lazy_property

EVALUATION = "evaluation"
"""The goal of a run that evaluates another run."""
ORCHESTRATOR = "orchestrator"
"""The goal of a run that trained an orchestrator, and the name of its subfolder."""
RUN_KEYS = {"schema": int, "settings": dict, "router": str, "goal": str, "versions": dict}
"""The keys that every ``run.yaml`` has, and the types of their values."""
OTHER_KEYS = {"date": str, "resolved": dict, "splits": dict, "source": str, "fingerprints": list, "evaluates": str}
"""The keys that some have."""

R = TypeVar("R", bound="Run")


class Run:
    """A run's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def open(cls: type[R], folder: str | Path) -> R:
        """Return a finished or unfinished run.

        Raises:
            CheckpointError: The folder holds no run; the message has the command that makes one.
        """
        check_type(folder, str | Path, "a run is named by its folder, such as 'runs/latest'", CheckpointError)
        path = Path(folder)
        if not (path / "run.yaml").is_file():
            raise CheckpointError(f"there is no run in {folder}; make one with: aamc run --router ppo --estimator tce")
        return cls(path.resolve())

    @classmethod
    def holding(cls: type[R], checkpoint: Path) -> R | None:
        """Return the run that holds a checkpoint; None for a checkpoint outside a run."""
        return next((cls.open(above) for above in checkpoint.resolve().parents[:2] if (above / "run.yaml").is_file()), None)

    def refuse_orchestrator(self) -> None:
        """Raise a CheckpointError if the run trained an orchestrator."""
        if self.content["goal"] == ORCHESTRATOR:
            raise CheckpointError(f"{self.folder} holds an orchestrator and no router; use it with: aamc orchestrate TASK --run {self.folder}")

    def require_routers(self) -> None:
        """Raise a CheckpointError if the run has no routers: it evaluates another run, which the message names, or trained an orchestrator."""
        self.refuse_orchestrator()
        if self.content["goal"] == EVALUATION:
            raise CheckpointError(f"{self.folder} holds an evaluation and no router; use the evaluated run {self.content['evaluates']}")

    @lazy_property
    def content(self) -> dict[str, Any]:
        """The content of ``run.yaml``."""
        path = self.folder / "run.yaml"
        try:
            content = load_yaml(path)
        except ConfigError as error:
            raise CheckpointError(f"{self.folder} cannot be read: {split_advice(str(error))[0]}; {RESTORE}") from error
        if content.get("schema", 1) != 1:
            raise CheckpointError(f"{path} has schema {content['schema']!r}, not 1: it was made by another version; train again")
        if lacking := RUN_KEYS.keys() - content.keys():
            raise CheckpointError(f"{path} is damaged: it lacks {one_of(lacking)}; {RESTORE}")
        for key, kind in (RUN_KEYS | OTHER_KEYS).items():
            if type(content.get(key, kind())) is not kind:
                raise CheckpointError(f"{path} is damaged: {key!r} must be of type {kind.__name__}, not {content[key]!r:.40}; {RESTORE}")
        return content

    @lazy_property
    def settings(self) -> ServingSettings:
        """The settings for serving the run."""
        try:
            return ServingSettings.of(self.content["settings"])
        except (ConfigError, PreferenceError) as error:
            raise CheckpointError(f"{self.folder / 'run.yaml'} cannot be used: {error}; {RESTORE}") from error

    @lazy_property
    def pool(self) -> Pool:
        """The candidates."""
        path = self.folder / "pool.yaml"
        try:
            return pool_from_dict(load_yaml(path), str(path))
        except (ConfigError, PoolError) as error:
            raise CheckpointError(f"{error}; {RESTORE}") from error

    @property
    def router_name(self) -> str:
        """The name of the run's own router."""
        return str(self.content["router"])

    @property
    def router_names(self) -> list[str]:
        """The names of all routers of the run, in the order of the configuration.

        Raises:
            CheckpointError: The run is an evaluation of another run, or holds an orchestrator.
        """
        self.require_routers()
        routers = self.content.get("resolved", {}).get("routers", {})
        if not isinstance(routers, dict):
            raise CheckpointError(f"{self.folder / 'run.yaml'} is damaged: 'resolved.routers' is {routers!r:.40}; {RESTORE}")
        return list(routers)

    @property
    def calibrations(self) -> dict[str, Any]:
        """Results of ``aamc calibrate``, by name; raises CheckpointError if their file cannot be read."""
        path = self.folder / "calibrations.json"
        advice = "delete it, and calibrate again with aamc calibrate"
        if not path.exists():
            return {}
        found = read_json_object(path, advice)
        try:
            for calibration in found.values():
                quality, cost, latency = calibration["preference"]
                Preference(quality, cost, latency)
        except (AamcError, TypeError, ValueError, KeyError) as error:
            raise CheckpointError(f"{path} is damaged: {advice}") from error
        return found

    @property
    def calibrated_preferences(self) -> dict[str, Preference]:
        """The calibrated preferences, by name."""
        return {name: Preference(*found["preference"]) for name, found in self.calibrations.items()}

    @property
    def store_url(self) -> str:
        """The URL of the run's log."""
        return f"sqlite:{self.folder / 'log.db'}"

    def services(self, plugins: Plugins, pool: Pool | None = None) -> Services:
        """Return the services of the run's components, with the fitted reward and the run's pool, or another one with the same candidates.

        Raises:
            CheckpointError: The run is an evaluation of another run, or holds an orchestrator.
        """
        self.require_routers()
        services = services_with_reward(self.pool if pool is None else pool, plugins, self.settings)
        load_state(services.reward, self.folder)
        return services

    def estimator(self, plugins: Plugins, services: Services) -> Estimator | None:
        """Return the run's estimator; None if it has none."""
        if self.settings.estimator is None:
            return None
        component: Estimator = load_component(self.folder / "estimator", "estimator", plugins, services)
        return component

    def router(self, plugins: Plugins, services: Services, name: str | None = None) -> Router:
        """Return one of the run's routers, made with the services of :meth:`services`; the run's own router when ``name`` is None.

        Raises:
            CheckpointError: The run does not hold that router, or its training is unfinished.
        """
        wanted = self.router_name if name is None else name
        if wanted not in self.router_names:
            default = " (runs/latest)" if self.folder.resolve() == Path("runs/latest").resolve() else ""
            unknown = unknown_name(f"{self.folder}{default} holds no router", wanted, self.router_names, "it holds")
            raise CheckpointError(unknown + slash_hint(wanted))
        if not is_complete(self.folder / "routers" / wanted):
            raise CheckpointError(f"router {wanted!r} of {self.folder} is incomplete; resume its training with --resume {self.folder}")
        component: Router = load_component(self.folder / "routers" / wanted, "router", plugins, services)
        return component

    @property
    def candidate_means(self) -> Floats:
        """The candidates' mean training quality, cost in USD and latency in ms, ``[M, 3]``."""
        path = self.folder / "candidates.json"
        saved = read_json_object(path)
        if saved.keys() != set(self.pool.names):
            raise CheckpointError(f"{path} and pool.yaml name different candidates: one file belongs to another run; {RESTORE}")
        try:
            means = np.array([json_figures(saved[name], 3) for name in self.pool.names])
        except DataError as error:
            raise CheckpointError(f"{path} is damaged: {error}; {RESTORE}") from error
        if (means[:, 0] > 1).any():
            raise CheckpointError(f"{path} is damaged: a mean quality is above 1; {RESTORE}")
        return means


def names_checkpoint(name: str) -> bool:
    """Return whether a name is the path of a checkpoint. A path must contain a slash, so a folder cannot shadow a component of the same name."""
    return bool(set(name) & {"/", os.sep})


def find_checkpoint(name: str, kind: str) -> Path | None:
    """Return the checkpoint that ``--router`` or ``--estimator`` names; None for a component's name, see :func:`names_checkpoint`.

    A run's folder selects its own router or estimator.

    Raises:
        CheckpointError: The path has no checkpoint, or is the folder of an evaluation.
    """
    if not names_checkpoint(name):
        return None
    folder = Path(name)
    if is_complete(folder):
        return folder
    if (folder / "run.yaml").is_file():
        run = Run(folder)
        run.require_routers()
        return folder / "estimator" if kind == "estimator" else folder / "routers" / run.router_name
    raise CheckpointError(f"{name} holds no {kind} checkpoint; give a component's name, a run's folder, or a folder with a {COMPONENT}")


def component_name(name: str, kind: str) -> str:
    """Return the component's name for a name or a checkpoint's folder."""
    folder = find_checkpoint(name, kind)
    return name if folder is None else str(checkpoint_metadata(folder, kind)["name"])
