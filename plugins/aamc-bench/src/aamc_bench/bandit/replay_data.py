"""The data of the streams: held-out rows as routers see them, with every candidate's outcomes."""

from __future__ import annotations

import attrs
import numpy as np
from aamc_experiments.data import fit_to_pool
from aamc_experiments.settings import Settings
from aamc_experiments.setup import ExperimentSetup, make_setup

from aamc_sdk.errors import DataError
from aamc_sdk.interfaces import Estimator, Progress, Services, Training
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import build_request
from aamc_sdk.types import Dataset, Floats, Outcomes, Pool, RoutingRequest

OUTCOMES, LABELS = "outcomes", "labels"
KNOWLEDGE = (OUTCOMES, LABELS)
"""The estimator's training data: everything, or everything but the outcomes."""
MINIMUM_CANDIDATES = 2


@attrs.frozen(eq=False)
class ReplayData:
    """Q rows that nothing was trained on and for which no candidate is masked.

    Attributes:
        request: The rows as routers see them.
        request_without_best: The same, from an estimator that knows no outcome of the candidate ``best``.
        outcomes: Every candidate's outcomes, ``[Q, M]``.
        best: The column of the candidate with the highest mean reward in the training rows.
        training: The routers' training data: the training rows' estimates without outcomes.
        services: The routers' services.
        known_outcomes: The training rows' outcomes, if the estimator has seen them.
    """

    request: RoutingRequest
    request_without_best: RoutingRequest
    outcomes: Outcomes
    best: int
    training: Training
    services: Services
    known_outcomes: Outcomes | None = None

    @property
    def training_request(self) -> RoutingRequest:
        """The training rows as routers see them."""
        assert self.training.request is not None  # make_replay_data describes them
        return self.training.request

    def reward(self, outcomes: Outcomes) -> Floats:
        """Return the reward of outcomes ``[B, M]`` at the request's preference, ``[B, M]``."""
        return self.services.reward.scalar(outcomes, np.broadcast_to(self.request.preferences[0], (len(outcomes.cost_usd), 3)))


def make_replay_data(settings: Settings, knowledge: str, plugins: Plugins, progress: Progress) -> ReplayData:
    """Read the data, train the estimator with one of ``KNOWLEDGE``, and describe the validation and test rows, which it does not see.

    Raises:
        DataError: No row has outcomes of all candidates, or there are too few candidates.
    """
    setup = make_setup(settings, plugins)
    pool, train, rows = setup.services.pool, setup.splits["train"], held_out(setup)
    if train.outcomes is None or rows.outcomes is None or len(pool) < MINIMUM_CANDIDATES:
        raise DataError(
            f"bench bandit replays measured outcomes of at least {MINIMUM_CANDIDATES} candidates, and {settings.dataset.public_name} has none"
        )
    means = train.outcomes.means
    rewards = setup.services.reward.scalar(Outcomes(*means.T[:, None]), settings.preference.array[None])[0]
    best = int(np.nanargmax(rewards))

    def trained(rows: Dataset, known: Pool) -> Estimator | None:
        """Return an estimator that is trained on rows, with the outcomes of a pool if the rows have any; None without one."""
        if (choice := settings.estimator) is None:
            return None
        services = attrs.evolve(setup.services, pool=known)
        estimator: Estimator = plugins.make("estimator", choice.name, services, choice.options, settings.preset)
        estimator.train(Training(dataset=rows, progress=progress))
        return estimator

    def request_of(estimator: Estimator | None, rows: Dataset) -> RoutingRequest:
        """Return rows as routers see them."""
        return build_request(rows.queries, pool, settings.preference.array, estimator=estimator, candidate_means=means)

    training_rows = train if knowledge == OUTCOMES else attrs.evolve(train, outcomes=None)
    estimator = trained(training_rows, pool)
    others = pool.subset([name for m, name in enumerate(pool.names) if m != best])
    without_best = trained(fit_to_pool(training_rows, others), others) if knowledge == OUTCOMES else estimator
    without_outcomes = attrs.evolve(train, outcomes=None)
    request = request_of(estimator, rows)
    allowed = np.flatnonzero(request.mask.all(axis=1))
    return ReplayData(
        request=request.take(allowed),
        request_without_best=request_of(without_best, rows).take(allowed),
        outcomes=rows.outcomes.take(allowed),
        best=best,
        training=Training(dataset=without_outcomes, request=request_of(estimator, without_outcomes)),
        services=setup.services,
        known_outcomes=train.outcomes if knowledge == OUTCOMES else None,
    )


def held_out(setup: ExperimentSetup) -> Dataset:
    """Return the validation and test rows whose outcomes are all known; without outcomes if the data has none."""
    parts = [setup.splits[name].take(np.flatnonzero(setup.splits[name].complete)) for name in ("validation", "test")]
    queries = [query for part in parts for query in part.queries]
    if not queries or any(part.outcomes is None for part in parts):
        return Dataset(queries)
    columns = [[getattr(part.outcomes, field) for part in parts] for field in ("known_quality", "cost_usd", "latency_ms")]
    return Dataset(queries, setup.services.pool, Outcomes(*map(np.concatenate, columns)))
