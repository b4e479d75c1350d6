"""Where an experiment takes place: data, pool, reward and environment, as settings say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from aamc_experiments.data import Readers, TrainingFingerprint, check_same_candidates, fit_to_pool, read_splits, typical_outcomes
from aamc_experiments.leak_guard import guard
from aamc_experiments.settings import Settings, Source
from aamc_sdk.errors import DataError
from aamc_sdk.interfaces import DatasetFormat, Environment, Services
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import find_pool
from aamc_sdk.serving import make_services
from aamc_sdk.types import Dataset, Pool


@attrs.frozen(kw_only=True)
class World:
    """Where an experiment takes place: the splits with their outcomes, and what parts are made with.

    Attributes:
        env: The environment.
        splits: The rows, by split.
        services: What parts are made with.
        tested: Which of a run's own splits the test rows are; None for other data.
        dropped: How many test rows were left out, because they had been trained on.
    """

    env: Environment
    splits: Mapping[str, Dataset]
    services: Services
    tested: str | None = "test"
    dropped: int = 0

    def check_measured(self, split: str) -> None:
        """Raise where routers cannot be measured on a split.

        Raises:
            DataError: Its rows have comparisons and no outcomes; says what to do.
        """
        check_measured(self.splits[split], f"the {split} rows of {self.splits[split].source}", "--test-dataset")


def check_measured(rows: Dataset, what: str, option: str) -> None:
    """Raise where routers cannot be measured on rows.

    Args:
        rows: The rows.
        what: How to name them.
        option: By which other rows can be named.

    Raises:
        DataError: There are comparisons and no outcomes; says what to do.
    """
    if rows.only_compared:
        why = f"comparisons show which candidate did better, not how good a choice is, and {what} have nothing else"
        raise DataError(f"{why}; name measured outcomes of the same candidates with {option} FORMAT:PATH")


def make_world(settings: Settings, plugins: Plugins, seals: Sequence[TrainingFingerprint] = ()) -> World:
    """Read the data and set up pool, reward and environment, as settings say.

    Args:
        settings: What the world is made of.
        plugins: Where components come from.
        seals: What checkpoints that are taken over were trained on; such test rows are left out.

    Raises:
        DataError: The data cannot be used, or not with this environment.
    """
    named = find_pool(settings.pool or "default", plugins)
    splits = read_splits(settings, dataset_readers(settings, plugins, make_services(named, plugins, settings)))
    tested = guard(splits["test"], seals, settings.evaluation.strict)
    train, test = splits["train"], tested.rows
    splits["test"] = test
    pool = choose_pool(settings, test if train.only_compared and test.outcomes is not None else train, named)
    if not test.only_compared:
        check_same_candidates(test, train.pool or pool)
    reward = plugins.make("reward", settings.reward.name, make_services(pool, plugins, settings), settings.reward.options)
    lent = make_services(pool, plugins, settings, reward)
    env = make_environment(settings, train, plugins, lent)
    played = {name: fit_to_pool(split, pool) for name, split in splits.items() if not split.only_compared}
    env.prepare(played)
    splits |= {name: env.dataset(name) for name in played}
    reward.fit(typical_outcomes(splits["train"], pool))
    return World(env=env, splits=splits, services=lent, dropped=tested.dropped)


def dataset_readers(settings: Settings, plugins: Plugins, lent: Services) -> Readers:
    """Return what makes a dataset's reader: each source has options of its own, even where two are of one format."""

    def reader(source: Source) -> DatasetFormat:
        made: DatasetFormat = plugins.make("dataset", source.name, lent, source.options, settings.preset)
        return made

    return reader


def choose_pool(settings: Settings, train: Dataset, named: Pool) -> Pool:
    """Return the candidates: those that the user named, else the data's own, else the default ones."""
    return named if settings.pool is not None or train.pool is None else train.pool


def make_environment(settings: Settings, train: Dataset, plugins: Plugins, lent: Services) -> Environment:
    """Return the environment that the user named, else the one that fits the data."""
    name = settings.environment.name or ("queue" if train.outcomes is None and not train.only_compared else "replay")
    env: Environment = plugins.make("environment", name, lent, settings.environment.options, settings.preset)
    return env
