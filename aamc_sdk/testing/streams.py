"""An environment for the kit: a table of outcomes, without Gymnasium."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.interfaces import Environment, Reward
from aamc_sdk.routing import encode
from aamc_sdk.testing.world import make_request
from aamc_sdk.types import Dataset, Floats, Outcomes, RoutingRequest


class TableEnvironment(Environment):
    """Plays a dataset's rows; outcomes are the dataset's own."""

    def prepare(self, splits: Mapping[str, Dataset]) -> None:
        """Set the splits, whose outcomes must be known."""
        self.splits = dict(splits)

    def dataset(self, split: str) -> Dataset:
        """Return a split."""
        return self.splits[split]

    def vector(
        self,
        n: int,
        split: str,
        *,
        request: RoutingRequest | None = None,
        seed: int = 0,
        streams: NDArray[np.intp] | None = None,
        preferences: Floats | None = None,
    ) -> Any:
        """Return n streams over a split, see :class:`TableStreams`."""
        dataset = self.splits[split]
        rows = make_request(dataset) if request is None else request
        assert dataset.outcomes is not None
        numbers = np.arange(n) if streams is None else streams
        return TableStreams(rows, dataset.outcomes, self.services.reward, numbers, seed, preferences)


class TableStreams:
    """Streams in the form of :class:`aamc_sdk.interfaces.RoutingStreams`.

    They are truncated after 50 steps and restart in the same step (Gymnasium's ``SAME_STEP``).
    """

    horizon = 50

    def __init__(
        self, rows: RoutingRequest, outcomes: Outcomes, reward: Reward, streams: NDArray[np.intp], seed: int, preferences: Floats | None
    ) -> None:
        self.num_envs = len(streams)
        self._rows = rows
        self._outcomes = outcomes
        self._reward = reward
        self._streams = streams
        self._seed = seed
        self._preferences = preferences
        self._time = 0
        self._episode = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Restart all streams; the same seed gives the same queries."""
        self._seed = self._seed if seed is None else seed
        self._time, self._episode = 0, 0
        self._arrive()
        return self._observe(), {}

    @property
    def state(self) -> Floats:
        """Nothing, ``[n, 0]``: decisions change no later outcome."""
        return np.empty((self.num_envs, 0))

    def request(self) -> RoutingRequest:
        """Return the present query of each stream, with hindsight."""
        present = self._rows.take(self._row)
        if self._preferences is not None:
            present = present.with_preference(self._preferences)
        return attrs.evolve(present, hindsight=self._outcomes.take(self._row))

    def step(self, actions: NDArray[Any]) -> tuple[NDArray[np.float32], Floats, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Answer each stream's query; a masked action fails at the maximum allowed cost and latency."""
        request = self.request()
        chosen = np.arange(self.num_envs), np.asarray(actions)
        masked = ~request.mask[chosen]
        happened = _charged(self._outcomes.take(self._row), request.mask, chosen, masked)
        vector = self._reward.vector(happened)
        scalars = (self._reward.weights(request.preferences) * vector).sum(axis=1)
        info = attrs.asdict(happened, recurse=False) | {"vector_reward": vector, "row": self._row, "masked": masked}
        truncated = np.full(self.num_envs, self._time + 1 == self.horizon)
        self._time += 1
        self._arrive()
        if truncated.all():
            info |= {"final_obs": np.fromiter(self._observe(), dtype=object), "_final_obs": truncated}
            self._time, self._episode = 0, self._episode + 1
            self._arrive()
        return self._observe(), scalars, np.zeros(self.num_envs, dtype=bool), truncated, info

    def close(self) -> None:
        """Do nothing: the streams hold no resources."""

    def _arrive(self) -> None:
        draws = np.random.default_rng((self._seed, self._episode, self._time)).integers(len(self._rows), size=int(self._streams.max()) + 1)
        self._row = draws[self._streams]

    def _observe(self) -> NDArray[np.float32]:
        return encode(self.request(), self._reward).flat()


def _charged(outcomes: Outcomes, mask: NDArray[np.bool_], chosen: tuple[NDArray[Any], NDArray[Any]], masked: NDArray[np.bool_]) -> Outcomes:
    """Return each stream's outcome ``[n]``: of the chosen candidate, or the worst allowed one if that is masked."""
    worst_cost, worst_latency = (np.where(mask, values, -np.inf).max(axis=1) for values in (outcomes.cost_usd, outcomes.latency_ms))
    return Outcomes(
        quality=np.where(masked, 0.0, outcomes.known_quality[chosen]),
        cost_usd=np.where(masked, worst_cost, outcomes.cost_usd[chosen]),
        latency_ms=np.where(masked, worst_latency, outcomes.latency_ms[chosen]),
    )
