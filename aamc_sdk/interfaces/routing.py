"""The components that decide a request: estimators and routers."""

from __future__ import annotations

import abc
import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from aamc_sdk.interfaces.parts import Part
from aamc_sdk.interfaces.training import Training

if TYPE_CHECKING:
    from aamc_sdk.interfaces.store import Store
    from aamc_sdk.types import Estimates, Experience, Floats, Pool, Query, RoutingRequest, Scores


class Estimator(Part):
    """Describes queries; after training on outcomes, also predicts each candidate's quality."""

    @abc.abstractmethod
    def estimate(self, queries: Sequence[Query]) -> Estimates:
        """Describe B queries."""

    def embed(self, texts: Sequence[str]) -> Floats | None:
        """Return embeddings ``[N, D]`` of texts, such as candidates' descriptions; None if the estimator has none."""
        return None

    def quality(self, estimates: Estimates, pool: Pool) -> Floats | None:
        """Return the expected quality ``[B, M]`` for any pool; None if not trained on outcomes."""
        return None

    def out_of_fold(self) -> Floats | None:
        """Return the expected quality ``[B, M]`` of each training row, from models that were not fitted on it."""
        return None

    def train(self, training: Training) -> Mapping[str, Any]:
        """Learn; return metrics. Heads without labels are left as they are."""
        return {}


@attrs.frozen(kw_only=True)
class Requirements:
    """The data that a router depends on.

    Attributes:
        estimator: It cannot score without an estimator.
        outcomes: It learns from outcomes only; comparisons teach it nothing.
        comparisons: It learns which candidate did best in a row; a row with a single candidate's outcome teaches it nothing.
        text: It reads the queries' texts, which a log keeps only on request.
        history: It reads the queries' earlier turns.
        training: It cannot serve before it is trained.
        cheap_rescoring: Scoring a request again is cheap, has no effect and gives the same scores, so explanations may search
            for the preference at which another candidate would have won.
    """

    estimator: bool = False
    outcomes: bool = False
    comparisons: bool = False
    text: bool = False
    history: bool = False
    training: bool = False
    cheap_rescoring: bool = False


class Router(Part):
    """Scores the candidates for a batch of requests.

    Attributes:
        requires: The data that it depends on.
        privileged: Whether it sees hindsight; such a router is a yardstick and is never served.
        uses_preference: Whether its scores depend on the preference.
    """

    requires: ClassVar[Requirements] = Requirements()
    privileged: ClassVar[bool] = False
    uses_preference: ClassVar[bool] = True

    @property
    def samples(self) -> bool:
        """Whether decisions are drawn from ``probabilities`` rather than by the maximum utility."""
        return bool(getattr(self.config, "sample", False))

    @abc.abstractmethod
    def score(self, request: RoutingRequest) -> Scores:
        """Score the candidates; called from several threads at once."""

    def score_each(self, request: RoutingRequest, preferences: Floats) -> Iterator[Scores]:
        """Score the same requests under each of ``[P, 3]`` preferences, one after the other.

        Override this where most of the work does not depend on the preference, to do it once.
        """
        for preference in preferences:
            yield self.score(request.with_preference(preference))

    def train(self, training: Training) -> Mapping[str, Any]:
        """Learn offline; return metrics, with ``"curve"`` a list of points where there is one."""
        return {}

    def close(self) -> None:
        """Release resources after the last request; closing twice does nothing."""


class OnlineRouter(Router):
    """A router that learns from the decision log while it serves.

    Attributes:
        snapshots: Whether :meth:`Part.save` and :meth:`Part.load` carry everything that was learned, so that a restart need not replay
            the log from its start.
    """

    snapshots: ClassVar[bool] = False

    def attach(self, log: Store, user_id: Callable[[str], str]) -> None:
        """Prepare to serve: called once, before the first request and before anything of the log is learned; experiments never call it.

        Args:
            log: The log that the router will learn from.
            user_id: Maps an external user id to the id used in requests and the log.
        """

    def prepare_replay(self, log: Store) -> None:
        """Prepare to replay the log from the start: called after :meth:`attach`, and again whenever all must be learned anew.

        A router whose state names users drops those that the log has forgotten (:meth:`Store.forgotten`).
        """

    @abc.abstractmethod
    def learn(self, experience: Experience) -> None:
        """Learn from a batch of the log, in log order, on one thread, while scoring goes on beside it."""


class AsyncRouter(Router):
    """A router that waits for others, such as one that asks a language model."""

    @abc.abstractmethod
    async def ascore(self, request: RoutingRequest) -> Scores:
        """Score the candidates; a controller calls it on its own event loop."""

    def score(self, request: RoutingRequest) -> Scores:
        """Score the candidates on an event loop of this call."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(self.ascore(request))
        return _on_another_thread(lambda: asyncio.run(self.ascore(request)))


def _on_another_thread(work: Callable[[], Scores]) -> Scores:
    """Return the result of work that cannot be done on a thread whose event loop is running."""
    results: list[Scores] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # raised again in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run, name="aamc-score")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
