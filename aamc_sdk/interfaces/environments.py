"""Environments for training and evaluation."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from aamc_sdk.interfaces.components import BaseComponent
from aamc_sdk.types import Dataset, Floats, RoutingRequest


class RoutingStreams(Protocol):
    """The vector environment that :meth:`Environment.vector` returns: Gymnasium's, with its present request.

    The info of ``step`` holds ``vector_reward [n, 3]``, and ``quality``, ``cost_usd``, ``latency_ms``, ``row``
    and ``masked`` (whether the action was masked), all ``[n]``, of the step just taken.
    Streams are truncated, never terminated. A truncated stream restarts in the same step (Gymnasium's ``SAME_STEP``):
    ``_final_obs [n]`` marks it, and ``final_obs [n]`` holds its last observation.
    Streams may also be :class:`CounterfactualStreams`, :class:`RecoveringStreams` and :class:`StatefulStreams`.

    Attributes:
        num_envs: The number n of streams.
    """

    num_envs: int

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Restart all streams; return their observations ``[n, W]`` and the info."""

    def step(self, actions: NDArray[Any]) -> tuple[NDArray[np.float32], Floats, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Answer the present query of each stream with the chosen candidate.

        Args:
            actions: The position of each stream's candidate in the pool, ``[n]``.

        Returns:
            Observations ``[n, W]``, rewards ``[n]``, whether each stream was terminated and truncated, ``[n]`` each, and the info.
        """

    def request(self) -> RoutingRequest:
        """Return the request of the present queries ``[n]``, with the true expected outcomes as hindsight."""

    def close(self) -> None:
        """Release the resources of the streams."""


@runtime_checkable
class CounterfactualStreams(Protocol):
    """Streams that know the quality of every candidate. With it, evaluation tells the causes of failures."""

    def counterfactual_quality(self) -> Floats:
        """Return the quality ``[n, M]`` that each candidate would have for the present queries, NaN for one that is not allowed."""


@runtime_checkable
class RecoveringStreams(Protocol):
    """Streams with a shared resource that recovers slowly."""

    @property
    def recovery(self) -> float:
        """Number of decisions until the resource has recovered, which a learner should look ahead; 0 if it recovers at once."""

    @property
    def resets(self) -> bool:
        """Whether the resource is renewed after :attr:`recovery` decisions, as a daily budget is, so that no effect of a decision lasts longer."""


@runtime_checkable
class StatefulStreams(Protocol):
    """Streams that show what earlier decisions have left behind. With it, a learner sees where the effect of a decision ends."""

    @property
    def state(self) -> Floats:
        """What decisions have changed, ``[n, D]``, valid until the next step; D is 0 for a table of outcomes.

        Streams with equal states and random numbers go on alike.
        """


class Environment(BaseComponent):
    """An environment in which routers are trained and evaluated.

    Attributes:
        stationary: Whether an outcome depends only on query and candidate, so that the table of outcomes is
            complete. Otherwise routers are evaluated on the streams.
    """

    stationary: ClassVar[bool] = True

    @classmethod
    def category_shares(cls, config: Any) -> Mapping[str, float] | None:
        """Return the relative frequencies of categories in queries that a dataset format generates; None leaves them to the format.

        A format that generates queries takes them as its option ``shares``, unless the user sets that.
        """
        return None

    @abc.abstractmethod
    def prepare(self, splits: Mapping[str, Dataset]) -> None:
        """Set the data of the splits ``train``, ``validation`` and ``test``.

        Raises:
            DataError: The data lacks something that the environment needs.
        """

    @abc.abstractmethod
    def dataset(self, split: str) -> Dataset:
        """Return a split with outcomes, for routers that learn from tables."""

    @abc.abstractmethod
    def vector(
        self,
        n: int,
        split: str,
        *,
        request: RoutingRequest | None = None,
        seed: int = 0,
        streams: NDArray[np.intp] | None = None,
        preferences: Floats | None = None,
    ) -> RoutingStreams:
        """Return n streams of a split's queries: a ``gymnasium.vector.VectorEnv`` that knows its present request.

        Args:
            n: Number of streams.
            split: The split of the queries.
            request: The request of all rows of the split; made from the true outcomes when None.
            seed: The seed of all randomness.
            streams: The number of each stream, ``[n]``: streams of the same number share queries and random draws.
            preferences: A fixed preference for each stream, ``[n, 3]``; drawn as configured when None.
        """
