"""An experiment: data, estimator, requests, routers and comparison, in this order. This is the work of ``aamc run``.

The estimator is trained first. Routers are then trained on the quality that it expected out of fold, so that they see the same
errors as in service. Its other estimates (complexity, category, tool use) follow from the text, and are taken in sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from aamc_experiments.data import SPLITS, TrainingFingerprint, about_split, check_unchanged
from aamc_experiments.leak_guard import checkpoint_fingerprints, fingerprint_of
from aamc_experiments.measurement import Measurement
from aamc_experiments.personal_evaluation import PERSONAL_BASELINES, PersonalMeasurement
from aamc_experiments.run_folder import LASTING_ERRORS, Goal, RunFolder
from aamc_experiments.settings import COMPARED, Settings
from aamc_experiments.setup import ExperimentSetup, make_setup
from aamc_experiments.training.out_of_fold import copy_out_of_fold, read_out_of_fold, split_requests, write_out_of_fold
from aamc_experiments.training.remarks import data_remarks
from aamc_experiments.typical_outcomes import typical_outcomes
from aamc_sdk.config import Choice, configure, unstructure
from aamc_sdk.errors import CheckpointError, ConfigError, DataError, EstimatesError, PluginError
from aamc_sdk.interfaces import Environment, Estimator, Progress, Requirements, Router, Services, Training
from aamc_sdk.messages import check_type, component_errors, one_of, router_errors, split_advice
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import out_of_fold
from aamc_sdk.serving import component_name, find_checkpoint
from aamc_sdk.storage import (
    RESUME_FOLDER,
    TRAINING,
    checkpoint_metadata,
    is_complete,
    load_component,
    locked,
    plain,
    read_json_object,
    save_component,
)
from aamc_sdk.types import Dataset, RoutingRequest


@runtime_checkable
class DeviceCheck(Protocol):
    """A component class that can check, before any data is read, whether its training can use a device."""

    def check_device(self, device: str) -> None:
        """Check that training can compute on a device, such as ``"cuda"``.

        Raises:
            ConfigError: The device is not available.
        """


class Experiment:
    """One experiment in its folder.

    Args:
        settings: The settings.
        plugins: The plugins that offer components.
        folder: The folder of the run.
        progress: Receives the progress.
        goal: The last stage: an estimator, a router or a comparison.
        resumed: Whether the folder holds an interrupted run.
    """

    def __init__(
        self,
        settings: Settings,
        plugins: Plugins,
        folder: Path,
        progress: Progress,
        goal: Goal = Goal.COMPARISON,
        *,
        resumed: bool = False,
    ) -> None:
        self.goal = goal
        self.resumed = resumed
        self.settings = settings.with_absolute_paths(plugins.names("model_pool"))
        self.plugins = plugins
        self.run = RunFolder(folder)
        expected = "progress must have the methods of aamc_sdk.interfaces.Progress, as NoProgress has, which shows nothing"
        self.progress = check_type(progress, Progress, expected, ConfigError)
        self.router_name = component_name(settings.router.name, "router")
        self._personal = False  # known when the data is read
        self._left_out: dict[str, str] | None = None  # likewise

    def compared(self) -> dict[str, Choice]:
        """Return all routers to train, the run's own first.

        Raises:
            ConfigError: Another router has the name of the run's own.
        """
        if self.goal is Goal.ESTIMATOR:
            return {}
        if self.goal is Goal.ROUTER:
            return {self.router_name: self.settings.router}
        others = self._baselines() if self.settings.routers is None else self.settings.routers
        if others.get(self.router_name, self.settings.router) not in (self.settings.router, Choice(self.router_name)):
            name = self.router_name
            raise ConfigError(f"routers.{name} is another router than the run's own {name}; give it another name: {{NAME: {{name: {name}, ...}}}}")
        return {self.router_name: self.settings.router, **{name: choice for name, choice in others.items() if name != self.router_name}}

    def _baselines(self) -> dict[str, Choice]:
        """Return all installed baselines that fit the data, without an estimator only those that need none."""
        fitting = PERSONAL_BASELINES if self._personal else COMPARED
        installed = [name for name in fitting if name in self.plugins.names("router")]
        return {name: Choice(name) for name in installed if self.settings.estimator or not self.plugins.load("router", name).requires.estimator}

    def trainable(self, setup: ExperimentSetup) -> dict[str, Choice]:
        """Return the routers of :meth:`compared` without baselines that the training rows cannot train.

        Raises:
            DataError: The settings name a router that these rows cannot train.
        """
        unsuitable = self._unsuitable(setup)
        for name in self._named_routers():
            if name in unsuitable:
                raise DataError(f"{name} {unsuitable[name]}; use one that these rows can train: {one_of(self._suitable(setup.splits['train']))}")
        return {name: choice for name, choice in self.compared().items() if name not in unsuitable}

    def _named_routers(self) -> list[str]:
        """Return the routers of :meth:`compared` that the user named, unlike the usual baselines."""
        return [self.router_name, *(self.settings.routers or ())]

    def _unsuitable(self, setup: ExperimentSetup) -> dict[str, str]:
        """Return the routers of :meth:`compared` that the training rows cannot train, with the reasons.

        Raises:
            AamcError: A router cannot be made, such as around an unknown one.
            ConfigError: A router needs an estimator, and none is named.
        """
        if self._left_out is None:
            self._left_out = {}
            for name, choice in self.compared().items():
                if find_checkpoint(choice.name, "router") is None:
                    requires = self.plugins.make("router", choice.name, setup.services, choice.options, self.settings.preset).requires
                    self._check_estimator(name, requires)
                    if why := _why_unsuitable(requires, setup.splits["train"]):
                        self._left_out[name] = why
        return self._left_out

    def _suitable(self, train: Dataset) -> list[str]:
        """Return the installed routers that these training rows can train."""
        found = []
        for name in self.plugins.names("router"):
            with suppress(PluginError):  # a router that cannot be loaded cannot be recommended
                router = self.plugins.load("router", name)
                lacks_estimator = router.requires.estimator and self.settings.estimator is None
                if router.requires.training and not lacks_estimator and not _why_unsuitable(router.requires, train):
                    found.append(name)
        return found

    @classmethod
    def resume(cls, folder: Path, plugins: Plugins, progress: Progress) -> Experiment:
        """Return the interrupted experiment of a folder.

        Raises:
            CheckpointError: The folder holds no run, or a damaged one.
        """
        run = RunFolder.open(folder)
        return cls(run.settings, plugins, run.folder, progress, run.goal, resumed=True)

    def complete(self) -> dict[str, Any]:
        """Run all stages up to the goal; components that are complete already are loaded.

        Returns:
            The metrics of the comparison or of the last training.

        Raises:
            OutputError: The folder holds something already, or another process writes it.
        """
        with locked(self.run.folder):
            if not self.resumed:
                self.run.refuse_to_overwrite()
            try:
                return self._stages()
            except LASTING_ERRORS:
                if not self.resumed:
                    self.run.discard_unless_begun("estimator", "routers")
                raise

    def _stages(self) -> dict[str, Any]:
        setup = self.begin()
        estimator = self.estimator(setup)
        if self.goal is Goal.ESTIMATOR:
            return _training_metrics(self.run.folder / "estimator")
        requests = self.requests(setup, estimator)
        routers = self.routers(setup, requests)
        if self.goal is Goal.ROUTER:
            return _training_metrics(self.run.folder / "routers" / self.router_name)
        return self.compare(setup, routers, requests)

    def begin(self) -> ExperimentSetup:
        """Read the data, set up the environment and the reward, and write ``run.yaml``."""
        self._check_components()
        fingerprints = checkpoint_fingerprints(self._checkpoints(), self.settings.evaluation.strict)
        setup = self.make_setup(fingerprints)
        self._personal = setup.splits["test"].groups is not None
        if self.goal is Goal.COMPARISON and not self._personal:
            setup.check_outcomes("test")
        if self.goal is not Goal.ESTIMATOR:
            setup.check_streams()
        choices, train = self.trainable(setup), setup.splits["train"]
        for name, why in self._unsuitable(setup).items():
            self.progress.say(f"{name} is left out: it {why}")
        if self.settings.estimator is None and self._sees_only_estimates():
            known = one_of(self.plugins.names("estimator"))
            self.progress.say(f"without an estimator {self.router_name} cannot see the texts, only prices and waits; add --estimator NAME ({known})")
        details = {
            "router": self.router_name,
            "goal": self.goal.value,
            "resolved": self._resolved(choices, setup.env),
            "source": train.source,
            "cost_note": train.cost_note,
            "splits": {name: about_split(split) for name, split in setup.splits.items()},
        }
        if self.resumed:
            check_unchanged(setup.splits, self.run.splits, self.run.folder)
        self.run.begin(self.settings, setup.services.pool, setup.services.reward, details, [fingerprint_of(setup.splits), *fingerprints])
        means = typical_outcomes(train, setup.services.pool).means
        self.run.write_candidate_means(means)
        for remark in data_remarks(setup, means, None if self.goal is Goal.ESTIMATOR else self.settings.preference):
            self.progress.say(remark)
        return setup

    def _sees_only_estimates(self) -> bool:
        """Return whether the router learns about a query only from an estimator's estimates."""
        if self.goal is Goal.ESTIMATOR:
            return False
        router = self.plugins.load("router", self.router_name)
        return bool(router.requires.training and router.uses_estimates and not router.requires.text)

    def make_setup(self, fingerprints: Sequence[TrainingFingerprint]) -> ExperimentSetup:
        """Read the data, and set up the environment and the reward; subclasses may provide another setup.

        Args:
            fingerprints: The training rows of the checkpoints that the experiment takes over.
        """
        return make_setup(self.settings, self.plugins, fingerprints)

    def _components(self) -> list[tuple[str, Choice]]:
        """Return the kind and choice of every component."""
        estimator = [] if self.settings.estimator is None else [("estimator", self.settings.estimator)]
        return [*estimator, *(("router", choice) for choice in self.compared().values())]

    def _checkpoints(self) -> list[Path]:
        """Return the distinct folders of the checkpoints that the experiment takes over."""
        found = (find_checkpoint(choice.name, kind) for kind, choice in self._components())
        return list(dict.fromkeys(folder for folder in found if folder is not None))

    def _check_components(self) -> None:
        """Check options, device and estimator of all components, before the data is read."""
        check_device = self.settings.device == "cuda" and not self.resumed  # the other devices are always available
        for kind, choice in self._components():
            self._config(kind, choice)
            if kind == "router":
                name = component_name(choice.name, "router")
                self._check_estimator(name, self.plugins.load("router", name).requires)
            if check_device and find_checkpoint(choice.name, kind) is None:  # a trained component may serve without the device
                component_class = self.plugins.load(kind, choice.name)
                if isinstance(component_class, DeviceCheck):
                    component_class.check_device(self.settings.device)

    def _check_estimator(self, name: str, requires: Requirements) -> None:
        if self.settings.estimator is None and requires.estimator:
            raise ConfigError(f"router {name!r} needs an estimator, and none is named; add --estimator tce, or leave that router out")

    def _config(self, kind: str, choice: Choice) -> Any:
        if (folder := find_checkpoint(choice.name, kind)) is not None:
            return checkpoint_metadata(folder, kind).get("config")
        return unstructure(configure(self.plugins.load(kind, choice.name).Config, choice.options, preset=self.settings.preset, where=choice.name))

    def _trained(self, kind: str, choice: Choice, folder: Path, services: Services) -> Any:
        """Return the trained component of a folder of the run, copied from a checkpoint if the settings name one; None to train it.

        Raises:
            CheckpointError: It was trained with other options, such as before ``run.yaml`` was edited.
        """
        if is_complete(folder):
            self._check_config(kind, choice, folder)
            return load_component(folder, kind, self.plugins, services)
        checkpoint = find_checkpoint(choice.name, kind)
        if checkpoint is None:
            return None
        component = load_component(checkpoint, kind, self.plugins, services)
        copy_out_of_fold(checkpoint, folder)
        save_component(folder, kind, component_name(choice.name, kind), component, self.plugins, _training_metrics(checkpoint))
        return component

    def _check_config(self, kind: str, choice: Choice, folder: Path) -> None:
        trained, asked = checkpoint_metadata(folder, kind).get("config") or {}, plain(self._config(kind, choice)) or {}
        changed = [f"{key} {trained[key]!r:.40}, not {asked[key]!r:.40}" for key in trained.keys() & asked.keys() if trained[key] != asked[key]]
        if changed:
            other = f"{folder} was trained with {'; '.join(sorted(changed))} as run.yaml says"
            raise CheckpointError(f"{other}: restore run.yaml, or train with the new options in another folder (--out)")

    def _resolved(self, choices: Mapping[str, Choice], env: Environment) -> dict[str, Any]:
        estimator = self.settings.estimator
        return {
            "estimator": None if estimator is None else self._config("estimator", estimator),
            "environment": unstructure(env.config),
            "routers": {name: self._config("router", choice) for name, choice in choices.items()},
        }

    def estimator(self, setup: ExperimentSetup) -> Estimator | None:
        """Return the trained estimator: this folder's own, a checkpoint's, or one trained now."""
        choice = self.settings.estimator
        if choice is None:
            return None
        folder = self.run.folder / "estimator"
        component: Estimator | None = self._trained("estimator", choice, folder, setup.services)
        if component is not None:
            return component
        component = self.plugins.make("estimator", choice.name, setup.services, choice.options, self.settings.preset)
        with component_errors(f"{component.message_name} failed", passes=OSError):
            metrics = component.train(self._training(setup, folder))
        quality, lengths = out_of_fold(component, len(setup.splits["train"]), setup.services.pool)
        if quality is not None:
            write_out_of_fold(folder, quality, setup, lengths)
        save_component(folder, "estimator", choice.name, component, self.plugins, metrics)
        return component

    def requests(self, setup: ExperimentSetup, estimator: Estimator | None) -> dict[str, RoutingRequest]:
        """Return the rows of each split as a router sees them, training rows with out-of-fold quality and lengths, if the estimator gives them."""
        pool, preference, means = setup.services.pool, self.settings.preference.array, self.run.candidate_means
        splits = {name: setup.splits[name] for name in SPLITS}
        held_out = read_out_of_fold(self.run.folder / "estimator", setup)
        requests = split_requests(splits, pool, preference, estimator, means, held_out)
        if estimator is not None and held_out is None and requests["train"].expected.quality is not None:
            checkpoint = None if self.settings.estimator is None else find_checkpoint(self.settings.estimator.name, "estimator")
            cause = "its out_of_fold returns None" if checkpoint is None else f"{checkpoint} was trained on other rows"
            effect = "routers train on its predictions, even of rows that it has learned from, and may trust it too much"
            self.progress.say(f"{estimator.message_name} gives no out-of-fold predictions of the training rows, as {cause}: {effect}")
        return requests

    def routers(self, setup: ExperimentSetup, requests: Mapping[str, RoutingRequest]) -> dict[str, Router]:
        """Return all routers, trained, without baselines that lack an estimate of these rows.

        Raises:
            EstimatesError: A router that the settings name lacks an estimate.
        """
        routers: dict[str, Router] = {}
        for name, choice in self.trainable(setup).items():
            router = self.router(name, choice, setup, requests)
            try:
                _check_estimates(name, router, requests["train"])
            except EstimatesError as error:
                if name in self._named_routers():
                    raise
                self.progress.say(f"{name} is left out: {split_advice(str(error))[0]}")
                self.run.leave_out(name)
            else:
                routers[name] = router
        return routers

    def router(self, name: str, choice: Choice, setup: ExperimentSetup, requests: Mapping[str, RoutingRequest]) -> Router:
        """Return a trained router: this folder's own, a checkpoint's, or one trained now."""
        folder = self.run.folder / "routers" / name
        component: Router | None = self._trained("router", choice, folder, setup.services)
        if component is not None:
            return component
        component = self.plugins.make("router", choice.name, setup.services, choice.options, self.settings.preset)
        with router_errors(name):
            metrics = component.train(self._training(setup, folder, requests))
        save_component(folder, "router", choice.name, component, self.plugins, metrics)
        return component

    def compare(self, setup: ExperimentSetup, routers: Mapping[str, Router], requests: Mapping[str, RoutingRequest]) -> dict[str, Any]:
        """Measure the routers on the test split, write the results, and return the metrics."""
        if (test := setup.splits["test"]).groups is not None:
            pool, estimator = setup.services.pool, self.estimator(setup)
            personal = PersonalMeasurement(routers=routers, dataset=test, pool=pool, estimator=estimator, split=setup.tested, dropped=setup.dropped)
            return personal.write_metrics(self.run.folder)
        measurement = Measurement(setup, routers, requests["test"], self.run.candidate_means, self.settings, progress=self.progress)
        return measurement.write_metrics(self.run.folder)

    def _training(self, setup: ExperimentSetup, folder: Path, requests: Mapping[str, RoutingRequest] | None = None) -> Training:
        return Training(
            dataset=setup.splits["train"],
            validation=setup.splits["validation"],
            request=None if requests is None else requests["train"],
            validation_request=None if requests is None else requests["validation"],
            env=setup.env,
            folder=folder / RESUME_FOLDER,
            resume=(folder / RESUME_FOLDER).is_dir(),
            progress=self.progress,
        )


def _why_unsuitable(requires: Requirements, train: Dataset) -> str:
    """Return the reason why training rows cannot train a router with these requirements; an empty text if they can."""
    if train.only_compared:
        return f"learns from outcomes, and {train.source} holds comparisons alone" if requires.outcomes else ""
    known = None if train.outcomes is None else train.outcomes.known
    if requires.comparisons and known is not None and (known.sum(axis=1) < min(2, known.shape[1])).all():
        return f"learns which candidate of each row did best, and the training rows of {train.source} have one outcome each"
    return ""


def _check_estimates(name: str, router: Router, request: RoutingRequest) -> None:
    """Let a router score the first row of a request; routers that would ask a model, or see outcomes in advance, are not asked.

    Raises:
        EstimatesError: The request lacks an estimate that the router needs.
    """
    if not (router.privileged or router.waits_for_calls):
        with router_errors(name):
            router.score(request.take(slice(0, 1)))


def _training_metrics(folder: Path) -> dict[str, Any]:
    path = folder / TRAINING
    return read_json_object(path) if path.exists() else {}
