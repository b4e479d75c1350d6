"""Measurement of routers: on a split of an experiment, or of a run's routers on other data."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_experiments.data import about_split, check_same_candidates, check_unchanged, fit_to_pool, read_splits
from aamc_experiments.evaluation import (
    HEADLINE,
    Comparison,
    ComparisonRequest,
    ConstantOutcomes,
    compare_streams,
    compare_table,
    constant_routers,
    length_errors,
    metrics,
    most_missing,
    promotion,
)
from aamc_experiments.leak_guard import EvaluationRows, read_evaluation_rows
from aamc_experiments.personal_evaluation import PERSONAL_BASELINES, PersonalMeasurement
from aamc_experiments.run_folder import Goal, RunFolder
from aamc_experiments.settings import Settings, Source
from aamc_experiments.setup import ExperimentSetup, check_known_models, check_outcomes, dataset_readers, make_environment, table_of
from aamc_sdk.errors import CheckpointError, ConfigError, DataError
from aamc_sdk.interfaces import Estimator, NoProgress, Progress, Router, Services, Training
from aamc_sdk.messages import component_errors
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import build_request
from aamc_sdk.storage import write_json
from aamc_sdk.types import Dataset, Estimates, Floats, Preference, RoutingRequest

logger = logging.getLogger(__name__)


def predicted_categories(estimates: Estimates) -> NDArray[np.str_]:
    """Return each query's most probable category, ``[Q]``; ``""`` where the estimator predicts none."""
    if not estimates.category_names or np.isnan(estimates.categories).all():
        return np.full(len(estimates), "")
    names: NDArray[np.str_] = np.array(estimates.category_names)[np.nan_to_num(estimates.categories).argmax(axis=1)]
    return names


@attrs.frozen(eq=False)
class Measurement:
    """The measurement of routers on one split of an experiment.

    Attributes:
        setup: The setup of the experiment.
        routers: The routers by name.
        request: The rows of the split as a router sees them.
        candidate_means: The candidates' mean training quality, cost in USD and latency in ms, ``[M, 3]``.
        settings: The settings, of which the preference, the seed and the options of the comparison count.
        split: The name of the split.
        preferences: The preferences to compare at, ``[P, 3]``; None for the usual 43.
        progress: Receives the progress.
    """

    setup: ExperimentSetup
    routers: Mapping[str, Router]
    request: RoutingRequest
    candidate_means: Floats
    settings: Settings
    split: str = attrs.field(default="test", kw_only=True)
    preferences: Floats | None = attrs.field(default=None, kw_only=True)
    progress: Progress = attrs.field(factory=NoProgress, kw_only=True)

    def compare(self) -> Comparison:
        """Let the routers decide the rows, on the table of a stationary environment, else in streams.

        Raises:
            DataError: The rows hold comparisons without outcomes, or no row is complete.
            PreferenceError: The preference weighs only latency, which is not known.
        """
        self.setup.check_outcomes(self.split)
        rows, predicted, options = self.setup.splits[self.split], predicted_categories(self.request.estimates), self.settings.evaluation
        compared = ComparisonRequest(
            routers=self.routers,
            request=self.request,
            reward=self.setup.services.reward,
            headline=self.settings.preference,
            seed=self.settings.seed,
            categories=predicted if rows.labels.category is None else np.where(rows.labels.category == "", predicted, rows.labels.category),
            candidate_means=self.candidate_means,
            preferences=self.preferences,
            progress=self.progress,
            stage=f"Comparing on the {self.split} split",
        )
        if self.setup.env.stationary:
            assert rows.outcomes is not None
            return compare_table(compared, rows.outcomes)
        return compare_streams(compared, self.setup.env, self.split, streams=options.streams, steps=options.steps, warm_up=options.warm_up)

    def write_metrics(self, folder: Path | None, gated: str | None = None) -> dict[str, Any]:
        """Compare the routers, write ``decisions.npz`` and ``metrics.json``, and return the metrics.

        Args:
            folder: The folder of both files; None to write neither.
            gated: The name of the router that the promotion gate decides on, under ``gate`` in the metrics; None for no gate.

        Raises:
            DataError: The rows hold comparisons without outcomes, or no row is complete.
            PreferenceError: The preference weighs only latency, which is not known.
        """
        options, rows, reward = self.settings.evaluation, self.setup.splits[self.split], self.setup.services.reward
        comparison, seed = self.compare(), self.settings.seed
        result = metrics(comparison, reward, options, source=rows.source, cost_note=rows.cost_note, seed=seed)
        result["data"] |= {"split": self.setup.tested, "dropped": self.setup.dropped}
        if comparison.is_table:
            assert rows.outcomes is not None
            untimed_outcomes = attrs.evolve(rows.outcomes, latency_ms=np.full_like(rows.outcomes.latency_ms, np.nan))
            if lacking := comparison.missing - np.count_nonzero(~untimed_outcomes.complete_among(self.request.mask)):
                result["data"]["untimed_queries"] = int(lacking)
            if (worst := most_missing(rows.outcomes, self.request.mask, self.request.pool.names)) is not None:
                result["data"]["most_missing"] = worst
            if untimed := np.flatnonzero(~np.isfinite(rows.outcomes.latency_ms).any(axis=0)).tolist():
                result["data"]["without_latency"] = [self.request.pool.names[n] for n in untimed]
        else:
            result["data"] |= {"warm_up": options.warm_up, "steps": options.steps, "growing_waits": comparison.growing_waits()}
        for name, router in self.routers.items():
            if router.trust is not None:
                result["routers"][name]["trust"] = dict(router.trust)
        if (errors := length_errors(self.request, rows, options.resamples, seed)) is not None:
            result["data"]["answer_lengths"] = errors
        if gated is not None:
            constants = self._constant_outcomes(comparison, folder)
            result["gate"] = promotion(comparison, constants, reward, gated, resamples=options.resamples, seed=seed)
        if folder is not None:
            comparison.save(folder / "decisions.npz")
            write_json(folder / "metrics.json", result)
        return result

    def _constant_outcomes(self, comparison: Comparison, folder: Path | None) -> ConstantOutcomes:
        """Return the outcomes of constant policies: from the table, or played in streams and kept in ``constants.npz``."""
        if not comparison.is_table:
            routers = constant_routers(self.setup.services)
            comparison = attrs.evolve(self, routers=routers, preferences=comparison.preferences[[HEADLINE]]).compare()
            if folder is not None:
                comparison.save(folder / "constants.npz")
        return ConstantOutcomes.of(comparison, self.setup.services.reward)


@attrs.frozen(kw_only=True)
class EvaluationRequest:
    """The request of ``aamc evaluate``: a run's routers, and the rows to compare them on.

    Attributes:
        names: The names of the routers.
        preference: The headline preference.
        source: Other data, read with the options of the run's dataset unless it has its own; None for rows of the run.
        split: One of the run's splits; ignored with a source.
        strict: Whether rows that a component was trained on are an error; else they are left out.
        out: The folder for ``run.yaml``, ``metrics.json`` and ``decisions.npz``; None to write nothing.
        gate: Whether to decide on the promotion of the run's own router, which must be among the names.
        baselines: Whether to add baselines to the names, for users' comparisons; they are trained on the run's training rows.
    """

    names: Sequence[str]
    preference: Preference
    source: Source | None = None
    split: str = "test"
    strict: bool = False
    out: Path | None = None
    gate: bool = False
    baselines: bool = False


def evaluate_run(run: RunFolder, request: EvaluationRequest, plugins: Plugins, progress: Progress | None = None) -> dict[str, Any]:
    """Compare a run's routers and return the metrics.

    Raises:
        ConfigError: The gate's router is not among the names, or the gate is asked for on training rows.
        CheckpointError: The run lacks a router, or is damaged.
        DataError: The data cannot be used, has other candidates, or consists of training rows.
        OutputError: ``out`` holds something already.
    """
    _check_request(run, request)
    if request.out is not None:
        RunFolder(request.out).refuse_to_overwrite(resumes=False)
    settings = evaluation_settings(run, request)
    found = evaluation_rows(run, settings, plugins, request)
    if found.rows.groups is not None:
        return _evaluate_users(run, request, found, settings, plugins)
    setup = make_evaluation_setup(run, settings, plugins, found)
    services, test = setup.services, setup.splits["test"]
    routers = {name: run.router(plugins, services, name) for name in request.names}
    asked = build_request(
        test.queries, run.pool, request.preference.array, estimator=run.estimator(plugins, services), candidate_means=run.candidate_means
    )
    measurement = Measurement(setup, routers, asked, run.candidate_means, settings, progress=progress or NoProgress())
    if request.out is not None:
        _begin(run, request.out, settings, services, test)
    return measurement.write_metrics(request.out, run.router_name if request.gate else None)


def _begin(run: RunFolder, out: Path, settings: Settings, services: Services, test: Dataset) -> None:
    details = {
        "router": run.router_name,
        "goal": Goal.EVALUATION.value,
        "evaluates": str(run.folder),
        "source": test.source,
        "cost_note": test.cost_note,
        "splits": {"test": about_split(test)},
    }
    RunFolder(out).begin(settings, run.pool, services.reward, details)


def _evaluate_users(run: RunFolder, request: EvaluationRequest, found: EvaluationRows, settings: Settings, plugins: Plugins) -> dict[str, Any]:
    """Measure a run's routers and baselines on users' comparisons."""
    if request.gate:
        raise ConfigError(f"the gate decides by measured outcomes, and {found.rows.source} holds comparisons; leave out --gate")
    services = run.services(plugins)
    check_known_models(found.rows, run.pool)
    estimator = run.estimator(plugins, services)
    routers = {name: run.router(plugins, services, name) for name in request.names}
    if request.baselines:
        routers |= _trained_baselines(run, set(routers), estimator, services, plugins)
    if request.out is not None:
        _begin(run, request.out, settings, services, found.rows)
    measurement = PersonalMeasurement(
        routers=routers, dataset=found.rows, pool=run.pool, estimator=estimator, split=found.split, dropped=found.dropped
    )
    return measurement.write_metrics(request.out)


def _trained_baselines(
    run: RunFolder, present: Collection[str], estimator: Estimator | None, services: Services, plugins: Plugins
) -> dict[str, Router]:
    """Return the baselines of users' comparisons, trained on the run's training rows."""
    try:
        train = read_splits(run.settings, dataset_readers(run.settings, plugins, services))["train"]
    except DataError as error:
        logger.warning("the training data of %s cannot be read again (%s); baselines start untrained", run.folder, error)
        train = None
    found: dict[str, Router] = {}
    for name in PERSONAL_BASELINES:
        if name in plugins.names("router") and name not in present:
            found[name] = services.make("router", name, {})
            if train is not None:
                request = build_request(train.queries, run.pool, run.settings.preference.array, estimator=estimator)
                found[name].train(Training(dataset=train, request=request))
    return found


def _check_request(run: RunFolder, request: EvaluationRequest) -> None:
    if not request.names:
        raise CheckpointError(f"{run.folder} holds no router to evaluate; train one with aamc train --router NAME, or make a run")
    if request.gate and run.router_name not in request.names:
        raise ConfigError(f"the gate decides on {run.router_name}, the router of {run.folder}; name it among the routers too")
    if request.gate and request.source is None and request.split != "test":
        why = f"the gate decides by rows that the router was not trained on, which the run's {request.split} rows are not"
        raise ConfigError(f"{why}; leave out --split")


def evaluation_settings(run: RunFolder, request: EvaluationRequest) -> Settings:
    """Return the run's settings, whose paths are absolute, with the dataset, preference and strictness of a request."""
    settings = run.settings
    if request.source is not None:
        settings = attrs.evolve(settings, dataset=request.source.like(settings.dataset).absolute(), test_dataset=None)
    options = attrs.evolve(settings.evaluation, strict=request.strict or settings.evaluation.strict)
    return attrs.evolve(settings, preference=request.preference, evaluation=options)


def evaluation_rows(run: RunFolder, settings: Settings, plugins: Plugins, request: EvaluationRequest) -> EvaluationRows:
    """Return the rows of a request, without those that a component of the run was trained on."""
    readers = dataset_readers(settings, plugins, run.services(plugins))
    return read_evaluation_rows(run, settings, readers, settings.dataset if request.source else None, request.split)


def make_evaluation_setup(run: RunFolder, settings: Settings, plugins: Plugins, found: EvaluationRows) -> ExperimentSetup:
    """Return a setup whose test rows are those to evaluate a run on, with the settings of :func:`evaluation_settings`."""
    services = run.services(plugins)
    check_outcomes(found.rows, f"the rows of {found.rows.source}", "--dataset")
    check_same_candidates(found.rows, run.pool)
    env = make_environment(settings, found.rows, plugins, services)
    with component_errors(f"{env.message_name} failed", passes=OSError):
        env.prepare({"test": fit_to_pool(found.rows, run.pool)})
        test = table_of(env, "test")
    if found.split is not None and env.stationary:  # the outcomes of a simulator follow from the run and the questions
        check_unchanged({found.split: test}, run.splits, run.folder)
    return ExperimentSetup(env=env, splits={"test": test}, services=services, tested=found.split, dropped=found.dropped)
