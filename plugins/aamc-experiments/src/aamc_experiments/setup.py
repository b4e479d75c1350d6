"""The setup of an experiment: data, candidates, reward and environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from aamc_experiments.data import Readers, TrainingFingerprint, check_same_candidates, fit_to_pool, read_splits
from aamc_experiments.evaluation import complete_rows
from aamc_experiments.leak_guard import leave_out_trained_rows, other_fingerprints
from aamc_experiments.settings import Settings, Source
from aamc_experiments.typical_outcomes import typical_outcomes
from aamc_sdk.config import configure
from aamc_sdk.errors import DataError
from aamc_sdk.interfaces import DatasetFormat, Environment, Services
from aamc_sdk.messages import check_type, component_errors, one_of
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import build_request, find_pool, fit_reward
from aamc_sdk.serving import make_services, services_with_reward
from aamc_sdk.types import Dataset, Pool, Preference

QUEUE = "queue"
"""The environment of datasets without outcomes."""


@attrs.frozen(kw_only=True)
class ExperimentSetup:
    """The data and environment of an experiment, and the services of its components.

    Attributes:
        env: The environment.
        splits: The rows with their outcomes, by split.
        services: The services that components are made with; they hold the candidates and the reward.
        tested: The name of the run's own split that the test rows are; None for other data.
        dropped: The number of test rows that were left out because a component was trained on them.
    """

    env: Environment
    splits: Mapping[str, Dataset]
    services: Services
    tested: str | None = "test"
    dropped: int = 0

    def check_outcomes(self, split: str) -> None:
        """Check that routers can be measured on a split.

        Raises:
            DataError: Its rows hold comparisons without outcomes, or a table of which no row is complete.
        """
        rows = self.splits[split]
        check_outcomes(rows, f"the {split} rows of {rows.source}", "--test-dataset")
        if self.env.stationary and rows.outcomes is not None:
            pool = self.services.pool
            complete_rows(rows.outcomes, build_request(rows.queries, pool, Preference().array).mask, pool.names)

    def check_streams(self) -> None:
        """Check that the environment can make streams of each split: a limit may be enough for the queries of one split alone.

        Raises:
            AamcError: It cannot, for example because an option does not fit the data.
        """
        if not self.env.stationary:
            with component_errors(f"{self.env.message_name} failed"):
                for name, rows in self.splits.items():
                    if not rows.only_compared:
                        self.env.vector(1, name).close()


def check_outcomes(rows: Dataset, name: str, option: str) -> None:
    """Check that routers can be measured on rows, whose name and whose option the error has.

    Raises:
        DataError: The rows hold comparisons without outcomes.
    """
    if rows.only_compared:
        why = f"comparisons show which candidate did better, not how good a choice is, and {name} have nothing else"
        raise DataError(f"{why}; name measured outcomes of the same candidates with {option} FORMAT:PATH")


def check_known_models(rows: Dataset, pool: Pool) -> None:
    """Check that users' comparisons name only models of the pool; a log may have decisions on retired ones.

    Raises:
        DataError: They name another one.
    """
    unknown = (
        [] if rows.groups is None or not rows.only_compared or rows.pool is None else [name for name in rows.pool.names if name not in pool.names]
    )
    if unknown:
        advice = "describe them in the --pool FILE, or leave their rows out"
        raise DataError(f"{rows.source} names the models {one_of(unknown)}, which the pool lacks (it has: {one_of(pool.names)}); {advice}")


def make_setup(settings: Settings, plugins: Plugins, fingerprints: Sequence[TrainingFingerprint] = ()) -> ExperimentSetup:
    """Read the data, and make the pool, the reward and the environment that settings name.

    Args:
        settings: The settings.
        plugins: The plugins that offer components.
        fingerprints: The training rows of checkpoints that the experiment takes over; test rows among them are left out.

    Raises:
        DataError: The data cannot be used, or not with this environment.
    """
    named = find_pool(settings.pool or "default", plugins)
    splits = read_splits(settings, dataset_readers(settings, plugins, make_services(named, plugins, settings)))
    kept = leave_out_trained_rows(splits["test"], other_fingerprints(fingerprints, splits), settings.evaluation.strict)
    train, test = splits["train"], kept.rows
    splits["test"] = test
    own = (test if train.only_compared and test.outcomes is not None else train).pool
    pool = named if settings.pool is not None or own is None else own
    if not test.only_compared:
        check_same_candidates(test, train.pool or pool)
    for rows in (train, test):
        check_known_models(rows, pool)
    services = services_with_reward(pool, plugins, settings)
    env = make_environment(settings, train, plugins, services)
    measured = {name: fit_to_pool(split, pool) for name, split in splits.items() if not split.only_compared}
    with component_errors(f"{env.message_name} failed", passes=OSError):
        env.prepare(measured)
        splits |= {name: table_of(env, name) for name in measured}
    fit_reward(services.reward, typical_outcomes(splits["train"], pool))
    return ExperimentSetup(env=env, splits=splits, services=services, dropped=kept.dropped)


def table_of(env: Environment, split: str) -> Dataset:
    """Return a split of an environment with its outcomes."""
    table = env.dataset(split)
    check_type(table, Dataset, f"dataset({split!r}) must return aamc_sdk.Dataset")
    return table


def dataset_readers(settings: Settings, plugins: Plugins, services: Services) -> Readers:
    """Return a function that makes the reader of a source with that source's own options.

    A source that generates its queries has the environment's categories, unless its options name others; a strict evaluation reads strictly.
    """

    def reader(source: Source) -> DatasetFormat:
        options, known = dict(source.options), attrs.fields_dict(plugins.load("dataset", source.name).Config)
        if not source.path and not options.get("shares") and "shares" in known:
            options["shares"] = generated_shares(settings, plugins)
        if settings.evaluation.strict and "strict" in known:
            options["strict"] = True
        made: DatasetFormat = plugins.make("dataset", source.name, services, options, settings.preset)
        return made

    return reader


def generated_shares(settings: Settings, plugins: Plugins) -> Mapping[str, float]:
    """Return the relative frequencies of categories that the environment gives to generated queries; empty for none."""
    name = settings.environment.name or QUEUE
    environment: type[Environment] = plugins.load("environment", name)
    config = configure(environment.Config, settings.environment.options, preset=settings.preset, where=name)
    with component_errors(f"environment {name!r} failed"):
        return environment.category_shares(config) or {}


def make_environment(settings: Settings, train: Dataset, plugins: Plugins, services: Services) -> Environment:
    """Return the environment that the settings name, else ``replay`` for rows with outcomes or comparisons and ``queue`` for others."""
    name = settings.environment.name or (QUEUE if train.outcomes is None and not train.only_compared else "replay")
    env: Environment = plugins.make("environment", name, services, settings.environment.options, settings.preset)
    return env
