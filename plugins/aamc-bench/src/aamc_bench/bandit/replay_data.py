"""What streams are made of: held-out rows as routers see them, and what every candidate did there."""

from __future__ import annotations

import attrs
import numpy as np

from aamc_sdk.batch import Floats, Outcomes, RoutingRequest
from aamc_sdk.dataset import Dataset
from aamc_sdk.errors import DataError
from aamc_sdk.interfaces import Estimator, Progress, Services, Training
from aamc_sdk.measure import describe
from aamc_sdk.plugins import Plugins
from aamc_sdk.requests import build_request
from aamc_sdk.settings import Settings
from aamc_sdk.splits import fit_to_pool
from aamc_sdk.types import Pool
from aamc_sdk.world import World, make_world

OUTCOMES, LABELS = "outcomes", "labels"
KNOWLEDGE = (OUTCOMES, LABELS)
"""What the estimator may learn from the training rows: everything, or all but what the candidates did."""
LEAST_CANDIDATES = 2


@attrs.frozen(eq=False)
class Material:
    """Q rows that nothing was trained on, and on which every candidate is allowed.

    Attributes:
        request: The rows as routers see them.
        unheard: The same, from an estimator that knows no outcome of the candidate ``best``.
        outcomes: What every candidate did, ``[Q, M]``.
        best: The column of the candidate with the greatest mean reward in the training rows.
        training: What routers are given before they serve: the training rows' estimates, and no outcome.
        services: What routers are made with.
    """

    request: RoutingRequest
    unheard: RoutingRequest
    outcomes: Outcomes
    best: int
    training: Training
    services: Services

    def reward(self, outcomes: Outcomes) -> Floats:
        """Return the reward of outcomes of the rows, in any order, ``[B, M]``."""
        return self.services.reward.scalar(outcomes, np.broadcast_to(self.request.preferences[0], (len(outcomes.cost_usd), 3)))


def make_material(settings: Settings, knowledge: str, plugins: Plugins, progress: Progress) -> Material:
    """Read the data, train the estimator, and describe the validation and test rows, which it does not see.

    Args:
        settings: Of the run that this is.
        knowledge: One of ``KNOWLEDGE``.
        plugins: Where components come from.
        progress: Where to report.

    Raises:
        DataError: There is no row whose outcomes are all known, or there are too few candidates.
    """
    world = make_world(settings, plugins)
    pool, train, rows = world.services.pool, world.splits["train"], held_out(world)
    if train.outcomes is None or rows.outcomes is None or len(pool) < LEAST_CANDIDATES:
        raise DataError(f"bench bandit replays measured outcomes of at least {LEAST_CANDIDATES} candidates, and {settings.dataset} has none of these")
    means = train.outcomes.means
    rewards = world.services.reward.scalar(Outcomes(*means.T[:, None]), settings.preference.array[None])[0]
    best = int(np.nanargmax(rewards))
    stage = _Stage(settings, plugins, progress, world.services, means)
    taught = train if knowledge == OUTCOMES else attrs.evolve(train, outcomes=None)
    estimator = stage.estimator(taught, pool)
    others = pool.subset([name for m, name in enumerate(pool.names) if m != best])
    before = stage.estimator(fit_to_pool(taught, others), others) if knowledge == OUTCOMES else estimator
    blind = attrs.evolve(train, outcomes=None)
    request = stage.request(estimator, rows)
    allowed = np.flatnonzero(request.mask.all(axis=1))
    return Material(
        request=request.take(allowed),
        unheard=stage.request(before, rows).take(allowed),
        outcomes=rows.outcomes.take(allowed),
        best=best,
        training=Training(dataset=blind, request=stage.request(estimator, blind)),
        services=world.services,
    )


def held_out(world: World) -> Dataset:
    """Return the validation and test rows whose outcomes are all known; without outcomes where nobody measured any."""
    parts = [world.splits[name].take(np.flatnonzero(world.splits[name].complete)) for name in ("validation", "test")]
    queries = [query for part in parts for query in part.queries]
    if not queries or any(part.outcomes is None for part in parts):
        return Dataset(queries)
    columns = [[getattr(part.outcomes, field) for part in parts] for field in ("known_quality", "cost_usd", "latency_ms")]
    return Dataset(queries, world.services.pool, Outcomes(*map(np.concatenate, columns)))


@attrs.frozen
class _Stage:
    """What trains estimators and describes rows.

    Attributes:
        settings: Of the run.
        plugins: Where components come from.
        progress: Where to report.
        services: Of the whole pool.
        means: Each candidate's mean training outcomes, ``[M, 3]``.
    """

    settings: Settings
    plugins: Plugins
    progress: Progress
    services: Services
    means: Floats

    def estimator(self, rows: Dataset, pool: Pool) -> Estimator | None:
        """Return an estimator that was trained on some rows, and knows outcomes of a pool where the rows have any."""
        choice, lent = self.settings.estimator, attrs.evolve(self.services, pool=pool)
        if choice is None:
            return None
        estimator: Estimator = self.plugins.make("estimator", choice.name, lent, choice.options, self.settings.preset)
        estimator.train(Training(dataset=rows, progress=self.progress))
        return estimator

    def request(self, estimator: Estimator | None, rows: Dataset) -> RoutingRequest:
        """Return rows as routers see them."""
        pool = self.services.pool
        estimates, quality = describe(estimator, rows.queries, pool)
        return build_request(rows.queries, pool, self.settings.preference.array, estimates=estimates, quality=quality, typical=self.means)
