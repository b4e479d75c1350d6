"""Environment ``replay``: outcomes come from a dataset's table."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_environments.environment import StreamEnvironment, StreamOptions, estimates_from_labels
from aamc_environments.streams import StepDraws, Streams, StreamSetup
from aamc_sdk import Dataset, Outcomes, Preference, RoutingRequest
from aamc_sdk.errors import DataError
from aamc_sdk.routing import build_request
from aamc_sdk.types import Floats


@attrs.frozen(kw_only=True)
class ReplayOptions(StreamOptions):
    """Options of environment ``replay``."""


class ReplayStreams(Streams):
    """Streams that read outcomes from a table, ``[Q, M]``."""

    def __init__(self, setup: StreamSetup, outcomes: Outcomes) -> None:
        self._outcomes = outcomes
        super().__init__(setup)

    @property
    def state(self) -> Floats:
        """Return nothing, ``[n, 0]``: decisions change no later outcome."""
        return np.empty((self.num_envs, 0))

    def _begin(self) -> None:
        """There are no queues."""

    def _prepare(self, chances: StepDraws) -> None:
        """Only the query's row is drawn."""

    def _wait(self) -> None:
        return None

    def _hindsight(self) -> Outcomes:
        return self._outcomes.take(self.row)

    def _serve(self, actions: NDArray[np.intp], cells: NDArray[np.intp], allowed: NDArray[np.bool_]) -> Outcomes:
        table = self._outcomes
        return Outcomes(table.known_quality.take(cells), table.cost_usd.take(cells), table.latency_ms.take(cells))


class ReplayEnvironment(StreamEnvironment):
    """Outcomes come from a dataset's table; rows with a missing cell of an allowed candidate are not drawn."""

    Config = ReplayOptions
    stationary = True

    def prepare(self, splits: Mapping[str, Dataset]) -> None:
        """Set the outcome table of each split.

        Raises:
            DataError: A split has no outcomes, or those of another pool.
        """
        names = self.services.pool.names
        for name, dataset in splits.items():
            if dataset.outcomes is None or dataset.outcomes.quality is None:
                raise DataError(f"environment replay needs outcomes, and the {name} split has none; use --environment queue for labelled queries")
            foreign = dataset.pool is not None and dataset.pool.names != names
            if foreign or dataset.outcomes.cost_usd.shape != (len(dataset), len(names)):
                raise DataError(f"the {name} split's outcomes must be of the pool's candidates, in its order: {', '.join(names)}")
        super().prepare(splits)

    def dataset(self, split: str) -> Dataset:
        """Return a split, unchanged."""
        return self._split(split)

    def _true_request(self, split: str) -> RoutingRequest:
        dataset = self._split(split)
        labels = dataset.labels.category
        categories = () if labels is None else tuple(sorted({str(category) for category in labels}))
        means = None if dataset.outcomes is None else dataset.outcomes.means
        return build_request(
            dataset.queries, self.services.pool, Preference().array, estimates=estimates_from_labels(dataset, categories), candidate_means=means
        )

    def _make_streams(self, split: str, setup: StreamSetup) -> ReplayStreams:
        outcomes = self._split(split).outcomes
        assert outcomes is not None  # checked by prepare
        return ReplayStreams(setup, outcomes)
