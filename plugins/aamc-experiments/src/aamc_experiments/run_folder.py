"""The folder of an experiment, with everything that is written there before and during it."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import Any

from aamc_experiments.data import TrainingFingerprint
from aamc_experiments.settings import Settings, read_settings
from aamc_sdk.errors import CheckpointError, ConfigError, DataError, EstimatesError, OutputError, PoolError, PreferenceError
from aamc_sdk.interfaces import Reward
from aamc_sdk.messages import slash_hint
from aamc_sdk.routing import pool_to_dict
from aamc_sdk.serving import EVALUATION, ORCHESTRATOR, Run, find_checkpoint
from aamc_sdk.storage import RESTORE, checkpoint_metadata, make_folder, write_json, write_yaml
from aamc_sdk.types import Floats, Pool, Preference, lazy_property

VERSIONED = ("aamc-sdk", "numpy", "torch", "transformers", "onnxruntime", "gymnasium", "scikit-learn")
"""The distributions whose versions ``run.yaml`` records."""

LASTING_ERRORS = (ConfigError, DataError, EstimatesError, PoolError)
"""Errors of the settings or the data, which a resumed run would meet again."""


class Goal(str, Enum):
    """The result that a run's folder holds; ``run.yaml`` keeps the value under ``goal``."""

    COMPARISON = "comparison"
    ROUTER = "router"
    ESTIMATOR = "estimator"
    ORCHESTRATOR = ORCHESTRATOR
    EVALUATION = EVALUATION

    @property
    def command(self) -> str:
        """The command that makes such a folder."""
        return {Goal.COMPARISON: "run", Goal.EVALUATION: "evaluate"}.get(self, "train")


class RunFolder(Run):
    """The folder of a run, which an experiment writes, and reads with all settings."""

    @property
    def goal(self) -> Goal:
        """The result that the folder holds.

        Raises:
            CheckpointError: ``run.yaml`` is damaged, or has an unknown goal.
        """
        value = self.content["goal"]
        try:
            return Goal(value)
        except ValueError:
            raise CheckpointError(f"{self.folder / 'run.yaml'} has the unknown goal {value!r}; it was made by another version: train again") from None

    def refuse_to_overwrite(self, *, resumes: bool = True) -> None:
        """Check that the folder is empty or missing; the error advises to continue a run if the command ``resumes`` runs.

        Raises:
            OutputError: The folder holds a run, an evaluation or other files.
        """
        if (self.folder / "run.yaml").exists():
            with suppress(CheckpointError):  # a damaged run.yaml does not tell its goal
                if self.goal is Goal.EVALUATION:
                    raise OutputError(f"{self.folder} holds an evaluation already; choose another folder with --out")
            resume = f"continue it with --resume {self.folder}, or " if resumes else ""
            raise OutputError(f"{self.folder} holds a run already; {resume}choose another folder with --out")
        if self.folder.is_dir() and any(self.folder.iterdir()):
            raise OutputError(f"{self.folder} is not empty; choose another folder with --out")

    def begin(
        self,
        settings: Settings,
        pool: Pool | None,
        reward: Reward | None,
        details: Mapping[str, Any],
        fingerprints: Iterable[TrainingFingerprint] = (),
    ) -> None:
        """Write ``run.yaml`` and the files next to it, before any component is trained.

        Args:
            settings: The settings of the run.
            pool: The candidates; None for a folder without a pool of its own.
            reward: The reward, whose scales are kept; None for a folder without one.
            details: Further keys of ``run.yaml``; they replace keys of the same name.
            fingerprints: The training rows of the run itself, then those of the checkpoints that it takes over.
        """
        make_folder(self.folder)
        if reward is not None:
            reward.save(self.folder)
        if pool is not None:
            write_yaml(self.folder / "pool.yaml", pool_to_dict(pool))
        names = list(dict.fromkeys(fingerprint.write(self.folder) for fingerprint in fingerprints))
        date = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self.content = {"schema": 1, "date": date, "settings": settings.to_dict(), **details, "fingerprints": names, "versions": _versions()}
        write_yaml(self.folder / "run.yaml", self.content)

    def leave_out(self, router: str) -> None:
        """Take a router out of the run: its checkpoint, and its name in ``run.yaml``."""
        shutil.rmtree(self.folder / "routers" / router)
        del self.content["resolved"]["routers"][router]
        write_yaml(self.folder / "run.yaml", self.content)

    def discard_unless_begun(self, *components: str) -> None:
        """Empty the folder of a run that one of the ``LASTING_ERRORS`` ended, unless one of its components has written a file.

        Args:
            components: The folders of the components, such as ``orchestrator``.
        """
        if any(found.is_file() for component in components for found in (self.folder / component).rglob("*")):
            return
        for entry in self.folder.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    @lazy_property
    def settings(self) -> Settings:
        """The settings of the run.

        Raises:
            CheckpointError: They are not valid.
        """
        try:
            return read_settings(self.content["settings"])
        except (ConfigError, PreferenceError) as error:
            raise CheckpointError(f"{self.folder / 'run.yaml'} cannot be used: {error}; {RESTORE}") from error

    @property
    def splits(self) -> dict[str, Any]:
        """The recorded number and hash of each split's queries, by the split's name.

        Raises:
            CheckpointError: ``run.yaml`` lacks it.
        """
        if "splits" not in self.content:
            raise CheckpointError(f"{self.folder / 'run.yaml'} is damaged: it lacks splits; {RESTORE}")
        return dict(self.content["splits"])

    def preference(self, text: str | None) -> Preference:
        """Return a preference from its weights or the name of a calibrated one; the run's own when None.

        Raises:
            PreferenceError: The text is neither.
        """
        return self.settings.preference if text is None else Preference.parse(text, self.calibrated_preferences)

    @property
    def fingerprints(self) -> list[TrainingFingerprint]:
        """The training rows of its components: its own first, then those of the checkpoints that it took over.

        Raises:
            CheckpointError: The run has no fingerprints, one of them is damaged or was changed, or the folder is an evaluation.
        """
        if self.goal is Goal.EVALUATION:
            self.require_routers()
        names = self.content.get("fingerprints")
        if not names:
            raise CheckpointError(f"{self.folder / 'run.yaml'} does not say what was trained on; it was made by another version: train again")
        return [TrainingFingerprint.read(self.folder, str(name)) for name in names]

    def write_candidate_means(self, means: Floats) -> None:
        """Write the candidates' mean training quality, cost in USD and latency in ms, ``[M, 3]``."""
        write_json(self.folder / "candidates.json", dict(zip(self.pool.names, means.tolist(), strict=True)))


def estimator_checkpoint(name: str, run: Run | None) -> Path:
    """Return the checkpoint of a trained estimator.

    Args:
        name: A checkpoint's folder, a run's folder, or the name of the run's own estimator; empty for that one too.
        run: The run; None for none.

    Raises:
        ConfigError: The name is that of a component, and there is no run.
        CheckpointError: The run has no such estimator, or the folder holds no checkpoint of one.
    """
    if name and (folder := find_checkpoint(name, "estimator")) is not None:
        return folder
    advice = "name the folder of a trained one: --estimator FOLDER (train one with: aamc train --estimator tce)"
    if run is None:
        raise ConfigError(f"no run is given; {advice}")
    if run.settings.estimator is None:
        raise CheckpointError(f"{run.folder} has no estimator; {advice}")
    own = run.folder / "estimator"
    if name not in ("", trained := checkpoint_metadata(own, "estimator")["name"]):
        raise CheckpointError(f"{run.folder} holds the estimator {trained!r}, not {name!r}{slash_hint(name) or f'; {advice}'}")
    return own


NOT_LATEST = "runs/latest still names another run; use this one with --run {}"
"""The message about a run that :func:`point_latest` has not linked."""


def point_latest(folder: Path, runs: Path = Path("runs")) -> bool:
    """Link ``runs/latest`` to a run's folder; return whether it was linked.

    A run elsewhere does not take the place of an existing one: it may be a trial.

    Raises:
        OutputError: The link cannot be created.
    """
    make_folder(runs)
    link, temporary = runs / "latest", runs / f".latest.{os.getpid()}"
    if link.exists() and runs.resolve() not in folder.resolve().parents and folder.resolve() != link.resolve():
        return False
    try:
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(os.path.relpath(folder, runs))
        temporary.replace(link)
    except OSError as error:
        raise OutputError(f"cannot link {link} to the newest run: {error.strerror or error}; move it away") from error
    return True


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in VERSIONED:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
