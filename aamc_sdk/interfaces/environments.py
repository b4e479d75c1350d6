"""Where queries and outcomes come from: environments to train and measure in, and formats of datasets."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from aamc_sdk.interfaces.parts import Part

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from aamc_sdk.types import Dataset, Floats, RoutingRequest


class RoutingStreams(Protocol):
    """The vector environment that :meth:`Environment.vector` returns: Gymnasium's, with its present request.

    ``step``'s info holds ``vector_reward [n, 3]``, ``quality``, ``cost_usd``, ``latency_ms``, ``row``
    and ``masked`` (whether the action was not allowed), all ``[n]``, of the step just taken.
    Streams are cut off, never done. One that is starts anew in the same step; ``_final_obs [n]`` then
    says which, and ``final_obs [n]`` holds what each would have shown next (Gymnasium's ``SAME_STEP``).
    """

    num_envs: int

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start all streams anew."""

    def step(self, actions: NDArray[Any]) -> tuple[NDArray[np.float32], Floats, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Answer the present query of each stream by the candidate chosen for it."""

    def request(self) -> RoutingRequest:
        """Return the present query of each stream, with hindsight: true expectations."""

    def close(self) -> None:
        """Let go of what the streams hold."""


class Environment(Part):
    """Where routers are trained and measured.

    Attributes:
        stationary: Whether an outcome depends on nothing but its query and candidate, so that
            the table of outcomes says all. Otherwise routers are measured by playing the streams.
    """

    stationary: ClassVar[bool] = True

    @abc.abstractmethod
    def prepare(self, splits: Mapping[str, Dataset]) -> None:
        """Take the queries of each split (``train``, ``validation``, ``test``), and what is known of them.

        Raises:
            DataError: Something that this environment needs is not in the data.
        """

    @abc.abstractmethod
    def dataset(self, split: str) -> Dataset:
        """Return a split with outcomes, so that table learners can be trained."""

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
            n: How many streams.
            split: Whose queries.
            request: All rows of the split as a router sees them; made from the truth when None.
            seed: All randomness follows from it.
            streams: Which stream each is, ``[n]``: those of one number meet the same queries and luck.
            preferences: A fixed preference for each, ``[n, 3]``; drawn as configured when None.
        """


class DatasetFormat(Part):
    """Reads datasets of one format."""

    @abc.abstractmethod
    def read(self, path: str) -> Dataset | Mapping[str, Dataset]:
        """Read a dataset, or one that is already divided into ``train``, ``validation`` and ``test``.

        Args:
            path: What the user wrote after ``FORMAT:``; may be empty where a format needs none.

        Raises:
            DataError: It is missing, of another format, or has a bad row.
        """
