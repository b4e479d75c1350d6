"""Routers, which score the candidates of a request."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import attrs

from aamc_sdk.errors import CheckpointError
from aamc_sdk.interfaces.components import BaseComponent
from aamc_sdk.interfaces.store import Store
from aamc_sdk.interfaces.training import Training
from aamc_sdk.types import Experience, Floats, RoutingRequest, Scores


@attrs.frozen(kw_only=True)
class Requirements:
    """The data that a router depends on.

    Attributes:
        estimator: It cannot score without an estimator.
        outcomes: It learns only from outcomes, not from comparisons.
        comparisons: It learns which candidate of a row was best; it learns nothing from a row with a single candidate's outcome.
        text: It reads the queries' texts, which a log keeps only on request.
        history: It reads the queries' earlier turns.
        training: It cannot serve before it is trained.
        cheap_rescoring: Scoring a request again is cheap, has no effect and gives the same scores, so explanations may search
            for the preference at which another candidate would have won.
        training_reason: Why it requires training, and what else helps; the error message of an untrained router quotes it.
    """

    estimator: bool = False
    outcomes: bool = False
    comparisons: bool = False
    text: bool = False
    history: bool = False
    training: bool = False
    cheap_rescoring: bool = False
    training_reason: str = ""


class Router(BaseComponent):
    """Scores the candidates for a batch of requests.

    A class declares ``requires`` and ``uses_preference``; an instance may set its own, if they depend on its options.

    Attributes:
        requires: The data that it depends on.
        privileged: Whether it receives hindsight; such a router is a reference for evaluation and is never served.
        uses_preference: Whether its scores depend on the preference.
        uses_estimates: Whether its scores depend on the estimates of queries, or on the quality that the estimator expects.
        waits_for_calls: Whether scoring waits for network calls, which may cost money; so for an :class:`AsyncRouter`, and a router that wraps one.
        trust: The validation of a trained policy against ``greedy``, its starting rule: the trust ``factor`` (0: it decides like ``greedy``), the
            mean ``gain`` in reward, and its ``ci95``; None without such a validation.
    """

    requires: Requirements = Requirements()
    privileged: ClassVar[bool] = False
    uses_preference: bool = True
    uses_estimates: ClassVar[bool] = True
    waits_for_calls: bool = False
    trust: Mapping[str, Any] | None = None

    @property
    def samples(self) -> bool:
        """Whether decisions are drawn from the probabilities of its scores rather than by the maximum utility.

        By default the option ``sample`` of its ``Config``, a bool; False if there is no such option. A router may override this.
        """
        return bool(getattr(self.config, "sample", False))

    @abc.abstractmethod
    def score(self, request: RoutingRequest) -> Scores:
        """Score the candidates; called from several threads at once. The same request has the same scores until the router learns."""

    def score_each(self, request: RoutingRequest, preferences: Floats) -> Iterator[Scores]:
        """Score the same requests under each of P preferences ``[P, 3]`` in turn.

        Override this to do the work that does not depend on the preference only once.
        """
        for preference in preferences:
            yield self.score(request.with_preference(preference))

    def train(self, training: Training) -> Mapping[str, Any]:
        """Train the router offline; return metrics. ``"curve"``, if present, is a list of points."""
        return {}

    def close(self) -> None:
        """Release resources after the last request; closing twice does nothing."""


class OnlineRouter(Router):
    """A router that learns from the decision log while it serves.

    Attributes:
        snapshots: Whether :meth:`BaseComponent.save` and :meth:`BaseComponent.load` carry everything that was learned, so that a restart need
            not replay the log from its start.
        state_schema: The version of the saved state and its meaning. A snapshot of another version is not loaded, and the log is
            learned again. Raise it when a saved state of the last version cannot be continued; an upgrade that leaves it starts from the snapshot.
            Also raise it when the default of an option changes what it learns: options at their defaults are not part of a state's name.
        state_options: The options that change what it learns from the log; None: all. If another option changes, it continues from its snapshot.
        learns_attempts: Whether decisions and attempts change its next decisions, such as by their costs: they are learned as soon as they are in
            the log. Otherwise it may take a second, or until the next feedback.
    """

    snapshots: ClassVar[bool] = False
    learns_attempts: ClassVar[bool] = False
    state_schema: ClassVar[int] = 1
    state_options: ClassVar[Sequence[str] | None] = None

    def attach(self, log: Store, to_log_user: Callable[[str], str]) -> None:
        """Prepare to serve. Called once, before the first request and before learning from the log; experiments never call it.

        Args:
            log: The log that the router will learn from.
            to_log_user: Maps an external user id to the id used in requests and the log.
        """

    def prepare_replay(self, log: Store) -> None:
        """Prepare to replay the log from the start. Called after :meth:`attach`, and before each later replay.

        A router whose state names users drops the users that the log has forgotten (:meth:`Store.forgotten`). A later replay is learned by a
        second router of the same class, options and initial state, which is never attached; this one serves meanwhile, and then loads the
        second one's state.
        """

    def origin(self) -> bytes | None:
        """Return an identifier of the initial state, if the state itself cannot serve as one; called after :meth:`attach`, for a trial also before.

        The router's snapshots in the log are named by it, so it stays the same from one start to the next. A router with a state file stores the
        identifier there. None if the initial state is the same at each start.
        """
        return None

    @abc.abstractmethod
    def learn(self, experience: Experience) -> None:
        """Learn from a batch of the log, in log order, on one thread, while other threads score."""

    def delta(self) -> bytes | None:
        """Return the delta: the changes of the state since the last call of this method, of :meth:`BaseComponent.load` or of :meth:`apply_delta`.

        Called on the learning thread. A router with a large state overrides it, so that replicas and snapshots need not copy the whole. None if the
        router can only save its whole state.
        """
        return None

    def apply_delta(self, delta: bytes) -> None:
        """Apply the delta of another router in the same state; the result equals that router's state to the bit.

        Called on the learning thread, while other threads score.

        Raises:
            CheckpointError: The delta is damaged.
        """
        raise CheckpointError(f"{self.message_name} takes no delta; load its whole state")


class AsyncRouter(Router):
    """A router that waits for network calls, such as one that calls a language model."""

    waits_for_calls = True

    @abc.abstractmethod
    async def ascore(self, request: RoutingRequest) -> Scores:
        """Score the candidates, on the event loop of the services."""

    def score(self, request: RoutingRequest) -> Scores:
        """Score the candidates and wait for the result; not for use inside a coroutine on the event loop of the services."""
        return self.services.loop.run(self.ascore(request))
