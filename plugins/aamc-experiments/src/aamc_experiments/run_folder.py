"""The folder of an experiment: what is written there before and while it runs."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from importlib import metadata
from typing import Any

import yaml

from aamc_experiments.data import TrainingFingerprint
from aamc_experiments.settings import Settings, read_settings
from aamc_sdk.errors import CheckpointError, ConfigError, OutputError
from aamc_sdk.interfaces import Reward
from aamc_sdk.routing import pool_to
from aamc_sdk.serving import EVALUATION, Run
from aamc_sdk.storage import make_folder, plain, write_json, write_text
from aamc_sdk.types import Floats, Pool

VERSIONED = ("aamc-sdk", "numpy", "torch", "transformers", "onnxruntime", "gymnasium", "scikit-learn")
"""Distributions whose versions ``run.yaml`` records."""


class RunFolder(Run):
    """A run's folder that an experiment writes, or reads with all its settings.

    Args:
        folder: The folder's path.
    """

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

    def begin(
        self, settings: Settings, pool: Pool | None, reward: Reward | None, details: Mapping[str, Any], seals: Iterable[TrainingFingerprint] = ()
    ) -> None:
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
    def settings(self) -> Settings:
        """What the run was made from."""
        try:
            return read_settings(self.content["settings"])
        except ConfigError as error:
            raise CheckpointError(f"{self.folder / 'run.yaml'} cannot be used: {error}") from error

    @property
    def seals(self) -> list[TrainingFingerprint]:
        """What its parts were trained on: its own rows first, then those of checkpoints that it took over.

        Raises:
            CheckpointError: It does not say, one of them is damaged or was changed, or it is an evaluation of another run.
        """
        self.refuse_evaluation()
        names = self.content.get("seals")
        if not names:
            raise CheckpointError(f"{self.folder / 'run.yaml'} does not say what was trained on; it was made by another version: train again")
        return [TrainingFingerprint.read(self.folder, str(name)) for name in names]

    def write_candidate_means(self, means: Floats) -> None:
        """Keep the candidates' mean training quality, cost and latency ``[M, 3]``."""
        write_json(self.folder / "candidates.json", dict(zip(self.pool.names, means.tolist(), strict=True)))


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in VERSIONED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
