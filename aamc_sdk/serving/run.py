"""A run's folder: what is written there, and how it is read again."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from aamc_sdk.batch import Floats
from aamc_sdk.checkpoints import COMPONENT, component_of, is_complete, load_part
from aamc_sdk.config import load_yaml
from aamc_sdk.errors import CheckpointError, ConfigError, OutputError, PoolError, one_of
from aamc_sdk.files import plain, read_json, write_json, write_text
from aamc_sdk.folders import make_folder
from aamc_sdk.interfaces import Estimator, Reward, Router, Services
from aamc_sdk.plugins import Plugins
from aamc_sdk.pools import pool_from, pool_to
from aamc_sdk.seals import Seal
from aamc_sdk.services import bare_services, services
from aamc_sdk.settings import Settings, read_settings
from aamc_sdk.types import Pool, Preference

EVALUATION = "evaluation"
"""The goal of a folder that holds another run's evaluation."""
ORCHESTRATOR = "orchestrator"
"""The goal of a folder that holds a trained orchestrator, and where in it that is."""
WRITTEN = {"schema", "settings", "router", "goal", "versions"}
"""What every ``run.yaml`` has, from its first key to its last."""
VERSIONED = ("aamc-sdk", "numpy", "torch", "transformers", "onnxruntime", "gymnasium", "scikit-learn")


class Run:
    """A run's folder.

    Args:
        folder: Where it is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def open(cls, folder: str | Path) -> Run:
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

    def refuse_to_overwrite(self) -> None:
        """Raise where the folder holds anything already.

        Raises:
            OutputError: It does; the message has the ways on.
        """
        if (self.folder / "run.yaml").exists():
            with suppress(CheckpointError):  # of a damaged one nobody knows what it was
                if self.content["goal"] == EVALUATION:
                    raise OutputError(f"{self.folder} holds an evaluation already; choose another folder with --out")
            raise OutputError(f"{self.folder} holds a run already; go on with it by --resume {self.folder}, or choose another folder with --out")
        if self.folder.is_dir() and any(self.folder.iterdir()):
            raise OutputError(f"{self.folder} is not empty; choose another folder with --out")

    def begin(self, settings: Settings, pool: Pool | None, reward: Reward | None, details: Mapping[str, Any], seals: Iterable[Seal] = ()) -> None:
        """Write what the run is made of, before anything is trained.

        Args:
            settings: What it is made from.
            pool: The candidates; None where it has none of its own.
            reward: The reward, whose scales are kept; None where there is none.
            details: What else ``run.yaml`` says, or says instead.
            seals: What is trained on: by the run itself, then by the checkpoints that it takes over.
        """
        make_folder(self.folder)
        if reward is not None:
            reward.save(self.folder)
        if pool is not None:
            write_text(self.folder / "pool.yaml", yaml.safe_dump(plain(pool_to(pool)), sort_keys=False, allow_unicode=True))
        names = list(dict.fromkeys(seal.write(self.folder) for seal in seals))
        content = {"schema": 1, "settings": settings.plain(), **details, "seals": names, "versions": _versions()}
        write_text(self.folder / "run.yaml", yaml.safe_dump(plain(content), sort_keys=False, allow_unicode=True))

    @cached_property
    def content(self) -> dict[str, Any]:
        """What ``run.yaml`` holds."""
        try:
            content = load_yaml(self.folder / "run.yaml")
        except ConfigError as error:
            raise CheckpointError(f"{self.folder} cannot be read: {error}") from error
        if content.get("schema", 1) != 1:
            raise CheckpointError(f"{self.folder / 'run.yaml'} has schema {content['schema']!r}, not 1: it was made by another version; train again")
        if lacking := WRITTEN - content.keys():
            raise CheckpointError(f"{self.folder / 'run.yaml'} is damaged, for it lacks {one_of(lacking)}: train again")
        return content

    @cached_property
    def settings(self) -> Settings:
        """What the run was made from."""
        try:
            return read_settings(self.content["settings"])
        except ConfigError as error:
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
    def seals(self) -> list[Seal]:
        """What its parts were trained on: its own rows first, then those of checkpoints that it took over.

        Raises:
            CheckpointError: It does not say, one of them is damaged or was changed, or it is an evaluation of another run.
        """
        self.refuse_evaluation()
        names = self.content.get("seals")
        if not names:
            raise CheckpointError(f"{self.folder / 'run.yaml'} does not say what was trained on; it was made by another version: train again")
        return [Seal.read(self.folder, str(name)) for name in names]

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
        reward = plugins.make("reward", self.settings.reward.name, bare_services(self.pool, plugins, self.settings), self.settings.reward.options)
        reward.load(self.folder)
        return services(self.pool, reward, plugins, self.settings)

    def estimator(self, plugins: Plugins, lent: Services) -> Estimator | None:
        """Return the run's estimator, or None where it has none."""
        if self.settings.estimator is None:
            return None
        part: Estimator = load_part(self.folder / "estimator", "estimator", plugins, lent)
        return part

    def router(self, plugins: Plugins, lent: Services, name: str | None = None) -> Router:
        """Return one of the run's routers, by default the one it is about.

        Raises:
            CheckpointError: It does not hold that router.
        """
        wanted = self.router_name if name is None else name
        if wanted not in self.router_names:
            raise CheckpointError(f"{self.folder} holds no router {wanted!r} (it holds: {one_of(self.router_names)})")
        if not is_complete(self.folder / "routers" / wanted):
            raise CheckpointError(f"router {wanted!r} of {self.folder} is incomplete; go on with its training by --resume {self.folder}")
        part: Router = load_part(self.folder / "routers" / wanted, "router", plugins, lent)
        return part

    @property
    def candidate_means(self) -> Floats:
        """The candidates' mean training quality, cost in USD and latency in ms, ``[M, 3]``."""
        path = self.folder / "candidates.json"
        saved = read_json(path)
        if not isinstance(saved, dict) or set(saved) != set(self.pool.names):
            raise CheckpointError(f"{path} and pool.yaml beside it name different candidates: one is another run's; train again")
        return np.array([saved[name] for name in self.pool.names], dtype=np.float64)  # null becomes NaN

    def write_candidate_means(self, means: Floats) -> None:
        """Keep the candidates' mean training quality, cost and latency ``[M, 3]``."""
        write_json(self.folder / "candidates.json", dict(zip(self.pool.names, means.tolist(), strict=True)))


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


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in VERSIONED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
