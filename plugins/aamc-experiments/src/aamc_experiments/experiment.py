"""An experiment: data, estimator, requests, routers, comparison. This is what ``aamc run`` does.

The order matters. The estimator is trained first; routers are then trained on the quality that it
expects out of fold, so that they meet the same errors as in service. Complexity, category and tool
use, which follow from the text, are those that it says of rows that it has seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from aamc_experiments.data import SPLITS, TrainingFingerprint, about_split, check_unchanged, split_hash, typical_outcomes
from aamc_experiments.leak_guard import checkpoint_seals, seal_of
from aamc_experiments.measurement import describe, measure
from aamc_experiments.run_folder import RunFolder
from aamc_experiments.settings import COMPARED, Settings
from aamc_experiments.setup import World, make_world
from aamc_sdk.config import Choice, configure, unstructure
from aamc_sdk.errors import DataError, EstimatesError, PluginError, one_of
from aamc_sdk.interfaces import Environment, Estimator, Progress, Router, Training
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import build_request
from aamc_sdk.serving import find_checkpoint, part_name
from aamc_sdk.storage import RESUME, component_of, is_complete, load_part, locked, read_arrays, read_json, save_part, write_arrays
from aamc_sdk.types import Dataset, Floats, RoutingRequest

OUT_OF_FOLD = "out_of_fold.npz"
"""What an estimator expected of its training rows before it saw their outcomes, with those rows' hash and the candidates."""


def kept_out_of_fold(folder: Path, world: World) -> Floats | None:
    """Return what the estimator of a run's folder expected of the training rows before it saw their outcomes, ``[Q, M]``.

    None where it kept nothing of these rows and candidates.
    """
    path = folder / "estimator" / OUT_OF_FOLD
    if not path.exists():
        return None
    saved, names = read_arrays(path), world.services.pool.names
    kept = saved["candidates"].tolist()
    if str(saved["split"]) != split_hash(world.splits["train"]) or set(kept) != set(names):
        return None
    return np.asarray(saved["quality"][:, [kept.index(name) for name in names]])


class Experiment:
    """One experiment and its folder.

    Args:
        settings: What it is made of.
        plugins: Where its components come from.
        folder: Where everything goes.
        progress: Where to report.
        goal: How far it goes: ``"estimator"``, ``"router"`` or ``"comparison"``.
        resumed: Whether the folder holds its beginning already.
    """

    def __init__(
        self, settings: Settings, plugins: Plugins, folder: Path, progress: Progress, goal: str = "comparison", *, resumed: bool = False
    ) -> None:
        self.goal = goal
        self.resumed = resumed
        self.settings = settings
        self.plugins = plugins
        self.run = RunFolder(folder)
        self.progress = progress
        self.router_name = part_name(settings.router.name, "router")

    def compared(self) -> dict[str, Choice]:
        """Return every router that is trained, the one in question first."""
        if self.goal == "estimator":
            return {}
        if self.goal == "router":
            return {self.router_name: self.settings.router}
        others = self._baselines() if self.settings.routers is None else self.settings.routers
        return {self.router_name: self.settings.router, **{name: choice for name, choice in others.items() if name != self.router_name}}

    def _baselines(self) -> dict[str, Choice]:
        """Return every baseline that is installed and, where there is no estimator, can do without."""
        installed = [name for name in COMPARED if name in self.plugins.names("router")]
        return {name: Choice(name) for name in installed if self.settings.estimator or not self.plugins.load("router", name).requires.estimator}

    def trainable(self, world: World) -> dict[str, Choice]:
        """Return the routers of :meth:`compared` without the baselines that this data cannot train.

        Raises:
            DataError: The user named one of these.
        """
        train = world.splits["train"]
        unfit = self._unfit(train)
        for name in (self.router_name, *(self.settings.routers or ())):
            if name in unfit:
                raise DataError(f"{name} {unfit[name]}; use one that these rows can train: {one_of(self._fit(train))}")
        return {name: choice for name, choice in self.compared().items() if name not in unfit}

    def _unfit(self, train: Dataset) -> dict[str, str]:
        """Return the routers of :meth:`compared` that training rows cannot train, and why."""
        found = {}
        for name, choice in self.compared().items():
            if find_checkpoint(choice.name, "router") is None and (why := _why_unfit(self.plugins.load("router", choice.name), train)):
                found[name] = why
        return found

    def _fit(self, train: Dataset) -> list[str]:
        """Return the installed routers that learn something from training rows."""
        found = []
        for name in self.plugins.names("router"):
            with suppress(PluginError):  # one that cannot be loaded is of no use
                router = self.plugins.load("router", name)
                lacks_estimator = router.requires.estimator and self.settings.estimator is None
                if router.requires.training and not lacks_estimator and not _why_unfit(router, train):
                    found.append(name)
        return found

    @classmethod
    def resume(cls, folder: Path, plugins: Plugins, progress: Progress) -> Experiment:
        """Return an experiment that was begun before."""
        run = RunFolder.open(folder)
        return cls(run.settings, plugins, run.folder, progress, str(run.content["goal"]), resumed=True)

    def complete(self) -> dict[str, Any]:
        """Go through all stages up to the goal; what was finished before is read, not done again.

        Returns:
            The comparison's metrics, or what the last training returned.

        Raises:
            OutputError: The folder holds something else, or another process writes it.
        """
        with locked(self.run.folder):
            if not self.resumed:
                self.run.refuse_to_overwrite()
            return self._complete()

    def _complete(self) -> dict[str, Any]:
        world = self.begin()
        estimator = self.estimator(world)
        if self.goal == "estimator":
            return _training_of(self.run.folder / "estimator")
        requests = self.requests(world, estimator)
        routers = self.routers(world, requests)
        if self.goal == "router":
            return _training_of(self.run.folder / "routers" / self.router_name)
        return self.compare(world, routers, requests)

    def begin(self) -> World:
        """Read the data, set up the environment and the reward, and write ``run.yaml``."""
        self._check_parts()
        taken_over = checkpoint_seals(self._checkpoints(), self.settings.evaluation.strict)
        world = self.world(taken_over)
        if self.goal == "comparison":
            world.check_measured("test")
        choices, train = self.trainable(world), world.splits["train"]
        for name, why in self._unfit(train).items():
            self.progress.say(f"{name} is left out: it {why}")
        details = {
            "router": self.router_name,
            "goal": self.goal,
            "resolved": self._resolved(choices, world.env),
            "source": train.source,
            "cost_note": train.cost_note,
            "splits": {name: about_split(split) for name, split in world.splits.items()},
        }
        if self.resumed:
            check_unchanged(world.splits, self.run.content["splits"], self.run.folder)
        self.run.begin(self.settings, world.services.pool, world.services.reward, details, [seal_of(world.splits), *taken_over])
        self.run.write_candidate_means(typical_outcomes(train, world.services.pool).means)
        return world

    def world(self, taken_over: Sequence[TrainingFingerprint]) -> World:
        """Read the data and set up environment and reward; an experiment on other rows of it does so in its own way.

        Args:
            taken_over: What checkpoints that are taken over were trained on.
        """
        return make_world(self.settings, self.plugins, taken_over)

    def _named(self) -> list[tuple[str, Choice]]:
        """Return the kind and choice of every part that is trained or taken over."""
        estimator = [] if self.settings.estimator is None else [("estimator", self.settings.estimator)]
        return [*estimator, *(("router", choice) for choice in self.compared().values())]

    def _checkpoints(self) -> list[Path]:
        """Return the folders of the checkpoints that are taken over, each once."""
        found = (find_checkpoint(choice.name, kind) for kind, choice in self._named())
        return list(dict.fromkeys(folder for folder in found if folder is not None))

    def _check_parts(self) -> None:
        """Refuse options, a device or a missing estimator with which no part can be made, before anything takes time."""
        asked = self.settings.device == "cuda" and not self.resumed  # the other devices are always there
        for kind, choice in self._named():
            self._config(kind, choice)
            if kind == "router":
                self._check_estimator(choice)
            if asked and find_checkpoint(choice.name, kind) is None:  # what is trained already may serve without it
                self.plugins.load(kind, choice.name).check_device(self.settings.device)

    def _check_estimator(self, choice: Choice) -> None:
        name = part_name(choice.name, "router")
        if self.settings.estimator is None and self.plugins.load("router", name).requires.estimator:
            raise EstimatesError(f"router {name!r} needs an estimator, and none is named; add --estimator tce, or leave that router out")

    def _config(self, kind: str, choice: Choice) -> Any:
        if (folder := find_checkpoint(choice.name, kind)) is not None:
            return component_of(folder, kind).get("config")
        return unstructure(configure(self.plugins.load(kind, choice.name).Config, choice.options, preset=self.settings.preset, where=choice.name))

    def _resolved(self, choices: Mapping[str, Choice], env: Environment) -> dict[str, Any]:
        estimator = self.settings.estimator
        return {
            "estimator": None if estimator is None else self._config("estimator", estimator),
            "environment": unstructure(env.config),
            "routers": {name: self._config("router", choice) for name, choice in choices.items()},
        }

    def estimator(self, world: World) -> Estimator | None:
        """Return the trained estimator: a checkpoint's, this folder's own, or one trained now."""
        choice = self.settings.estimator
        if choice is None:
            return None
        folder = self.run.folder / "estimator"
        given = find_checkpoint(choice.name, "estimator")
        if is_complete(folder):
            return load_part(folder, "estimator", self.plugins, world.services)  # type: ignore[no-any-return]  # of that kind
        if given is not None:
            part: Estimator = load_part(given, "estimator", self.plugins, world.services)
            self._take_out_of_fold(given / OUT_OF_FOLD, world)
            save_part(folder, "estimator", part_name(choice.name, "estimator"), part, self.plugins, _training_of(given))
            return part
        part = self.plugins.make("estimator", choice.name, world.services, choice.options, self.settings.preset)
        metrics = part.train(self._training(world, folder))
        if (expected := part.out_of_fold()) is not None:
            of_what = {"split": split_hash(world.splits["train"]), "candidates": world.services.pool.names}
            write_arrays(folder / OUT_OF_FOLD, {"quality": expected} | {name: np.array(value) for name, value in of_what.items()})
        save_part(folder, "estimator", choice.name, part, self.plugins, metrics)
        return part

    def _take_out_of_fold(self, given: Path, world: World) -> None:
        """Keep what a checkpoint expected of its training rows, in case they are ours."""
        if given.exists():
            write_arrays(self.run.folder / "estimator" / OUT_OF_FOLD, read_arrays(given))
        if kept_out_of_fold(self.run.folder, world) is None:
            self.progress.say(f"{given.parent} was trained on other rows: training rows are taken as it sees them, even those that it has seen")

    def requests(self, world: World, estimator: Estimator | None) -> dict[str, RoutingRequest]:
        """Return each split's rows as a router sees them; training rows with out-of-fold quality."""
        pool, preference, typical = world.services.pool, self.settings.preference.array, self.run.candidate_means
        requests = {}
        for name in SPLITS:
            queries = world.splits[name].queries
            estimates, quality = describe(estimator, queries, pool)
            if name == "train" and (unseen := kept_out_of_fold(self.run.folder, world)) is not None:
                quality = unseen
            requests[name] = build_request(queries, pool, preference, estimates=estimates, quality=quality, typical=typical)
        return requests

    def routers(self, world: World, requests: Mapping[str, RoutingRequest]) -> dict[str, Router]:
        """Return every router, trained."""
        return {name: self.router(name, choice, world, requests) for name, choice in self.trainable(world).items()}

    def router(self, name: str, choice: Choice, world: World, requests: Mapping[str, RoutingRequest]) -> Router:
        """Return a trained router: a checkpoint's, this folder's own, or one trained now."""
        folder = self.run.folder / "routers" / name
        given = find_checkpoint(choice.name, "router")
        if is_complete(folder):
            return load_part(folder, "router", self.plugins, world.services)  # type: ignore[no-any-return]  # of that kind
        if given is not None:
            part: Router = load_part(given, "router", self.plugins, world.services)
            metrics: Mapping[str, Any] = _training_of(given)
        else:
            part = self.plugins.make("router", choice.name, world.services, choice.options, self.settings.preset)
            metrics = part.train(self._training(world, folder, requests))
        save_part(folder, "router", part_name(choice.name, "router"), part, self.plugins, metrics)
        return part

    def compare(self, world: World, routers: Mapping[str, Router], requests: Mapping[str, RoutingRequest]) -> dict[str, Any]:
        """Measure the routers on the test split, write what came of it, and return the metrics."""
        return measure(self.run.folder, world, routers, requests["test"], self.run.candidate_means, self.settings, self.progress)

    def _training(self, world: World, folder: Path, requests: Mapping[str, RoutingRequest] | None = None) -> Training:
        return Training(
            dataset=world.splits["train"],
            validation=world.splits["validation"],
            request=None if requests is None else requests["train"],
            validation_request=None if requests is None else requests["validation"],
            env=world.env,
            folder=folder / RESUME,
            resume=(folder / RESUME).is_dir(),
            progress=self.progress,
        )


def _why_unfit(router: type[Router], train: Dataset) -> str:
    """Return why training rows cannot train a router; nothing where they can."""
    if train.only_compared:
        return f"learns from outcomes, and {train.source} holds comparisons alone" if router.requires.outcomes else ""
    known = None if train.outcomes is None else train.outcomes.known
    if router.requires.comparisons and known is not None and (known.sum(axis=1) < min(2, known.shape[1])).all():
        return f"learns which candidate did best in a row, and the training rows of {train.source} have one outcome each"
    return ""


def _training_of(folder: Path) -> dict[str, Any]:
    path = folder / "training.json"
    return dict(read_json(path)) if path.exists() else {}
