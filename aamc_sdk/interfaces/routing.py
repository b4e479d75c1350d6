"""What decides a request: estimator, router, and the reward that both serve."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from aamc_sdk.interfaces.parts import Part, Services, Training

if TYPE_CHECKING:
    from aamc_sdk.interfaces.store import Store
    from aamc_sdk.types import Estimates, Experience, Floats, Outcomes, Pool, Query, RoutingRequest, Scores


class Reward(Part):
    """Turns outcomes into a vector of objectives, and with a preference into one number."""

    def __init__(self, config: Any = None, services: Services | None = None) -> None:
        self.config = config

    @property
    def affine(self) -> tuple[Floats, Floats] | None:
        """Slopes and offsets ``[3]`` with which each objective is slope times figure (quality, cost, latency) plus offset.

        An objective that is unknown has zeros. None where :meth:`vector` is no such function: scoring and playing then take longer. The same object
        until the reward changes: what is computed from it is kept as long as that.
        """
        return None

    @abc.abstractmethod
    def fit(self, outcomes: Outcomes) -> None:
        """Take scales from training outcomes ``[B, M]``."""

    @abc.abstractmethod
    def weights(self, preferences: Floats) -> Floats:
        """Return ``[..., 3]`` preferences as they count, where an objective may be unknown."""

    @abc.abstractmethod
    def vector(self, outcomes: Outcomes) -> Floats:
        """Return the objectives of ``[...]`` outcomes as ``[..., 3]``, each about 0 to 1, greater is better."""

    @abc.abstractmethod
    def scalar(self, outcomes: Outcomes, preferences: Floats) -> Floats:
        """Return the utility ``[B, M]`` of outcomes under ``[B, 3]`` preferences."""


class Estimator(Part):
    """Describes queries; when it was trained on outcomes, also expects each candidate's quality."""

    @abc.abstractmethod
    def estimate(self, queries: Sequence[Query]) -> Estimates:
        """Describe B queries."""

    def quality(self, estimates: Estimates, pool: Pool) -> Floats | None:
        """Return the expected quality ``[B, M]`` for any pool, or None when not trained on outcomes."""
        return None

    def out_of_fold(self) -> Floats | None:
        """Return each training row's expected quality ``[B, M]`` from parts that were not fitted on it."""
        return None

    def train(self, training: Training) -> Mapping[str, Any]:
        """Learn; return metrics. Heads without labels are left alone."""
        return {}


class Router(Part):
    """Scores the candidates for a batch of requests.

    Attributes:
        privileged: Whether it sees hindsight; such a router is a yardstick and is never served.
        uses_preference: Whether its scores depend on the preference.
        needs_estimator: Whether it can do nothing without one.
        needs_outcomes: Whether it, or the estimator that it relies on, learns from outcomes and nothing else.
        compares_outcomes: Whether it learns who did best in a row, so that a row with one candidate's outcome teaches nothing.
        needs_text: Whether it reads the queries' texts, which a log keeps only where it was asked to.
    """

    privileged: ClassVar[bool] = False
    uses_preference: ClassVar[bool] = True
    needs_estimator: ClassVar[bool] = False
    needs_outcomes: ClassVar[bool] = False
    compares_outcomes: ClassVar[bool] = False
    needs_text: ClassVar[bool] = False

    @property
    def samples(self) -> bool:
        """Whether decisions are drawn from ``probabilities`` rather than by the greatest utility."""
        return bool(getattr(self.config, "sample", False))

    @abc.abstractmethod
    def score(self, request: RoutingRequest) -> Scores:
        """Score the candidates; called from several threads at once."""

    async def ascore(self, request: RoutingRequest) -> Scores:
        """Score the candidates, for routers that wait for others."""
        return self.score(request)

    def score_each(self, request: RoutingRequest, preferences: Floats) -> Iterator[Scores]:
        """Score the same requests under each of ``[P, 3]`` preferences, one after the other.

        Override this where most of the work does not depend on the preference, to do it once.
        """
        for preference in preferences:
            yield self.score(request.with_preference(preference))

    def train(self, training: Training) -> Mapping[str, Any]:
        """Learn offline; return metrics, with ``"curve"`` a list of points where there is one."""
        return {}

    def serve(self, log: Store, known_as: Callable[[str], str]) -> None:
        """Begin to serve requests: called once, before the first of them and before anything of the log is learned; an experiment never does.

        Args:
            log: What will be learned.
            known_as: What requests and the log call a user whose own id another system's file gives.
        """

    def begin(self, log: Store) -> None:
        """Be about to learn the log from its first entry: called after :meth:`serve`, and again, as it was then, when all must be learned again.

        A router whose state names users drops those that the log has forgotten (:meth:`Store.forgotten`).
        """

    def learn(self, experience: Experience) -> None:
        """Learn from what happened, in log order, on one thread, while scoring goes on beside it."""

    def close(self) -> None:
        """End serving, after the last request and when all that was learned is kept in the log; closing twice does nothing."""
