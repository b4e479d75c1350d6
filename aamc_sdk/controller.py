"""MetaController, the class that applications embed: it routes, calls models, logs, learns and explains."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

from typing_extensions import Unpack

from aamc_sdk.config import ServingSettings
from aamc_sdk.errors import StoreAwayError
from aamc_sdk.explain import Explanation, explain
from aamc_sdk.interfaces import Completion, OnlineRouter
from aamc_sdk.messages import check_type
from aamc_sdk.plugins import Plugins, given_or_installed
from aamc_sdk.routing import find_pool
from aamc_sdk.serving.arguments import (
    AttemptKeywords,
    FeedbackKeywords,
    PreferenceLike,
    Preferences,
    RouteArguments,
    RouteKeywords,
    attempt_of,
    feedback_of,
    queries_of,
    with_times,
)
from aamc_sdk.serving.config_files import components_from_file
from aamc_sdk.serving.decisions.decider import Decider, decisions_of
from aamc_sdk.serving.decisions.plugin_events import PluginEvents
from aamc_sdk.serving.learner.learner import Learner
from aamc_sdk.serving.pseudonyms import pseudonymizer
from aamc_sdk.serving.served_components import (
    ServedComponents,
    check_privileged,
    components_from_run,
    components_from_settings,
    warn_of_wrapped_learners,
)
from aamc_sdk.types import Attempt, Decision, Feedback, Pool, PoolState, Query, Record, check_name


class MetaController:
    """Chooses the candidate for each request.

    Safe to use from any thread and inside a running event loop. A context manager; closing it closes its store. Without closing, its threads and
    files stay open until the process ends.

    Args:
        components: The components to serve with; their store is closed if they cannot be used.
        user_key: The key that turns user ids into pseudonyms before the router, the log and events see them; None leaves them.

    Attributes:
        router: Scores the candidates.
        router_name: The router's name in decisions.
        estimator: Describes queries; None for none.
        pool: The candidates.
        reward: Turns outcomes into rewards.
        preference: The default preference of requests.
        seed: The seed of the draws.
        store: The log.
        models: The client for calling the candidates; it records calls with a decision's id as attempts.
        learner: Learns from the log; None for a router that does not learn.

    Raises:
        ConfigError: The router is privileged, so it needs outcomes in advance; or the key cannot be used.
    """

    def __init__(self, components: ServedComponents, *, user_key: str | bytes | None = None) -> None:
        self._components = components
        self.store = components.store
        with ExitStack() as unusable:
            unusable.callback(self.store.close)
            self._to_log_user = pseudonymizer(user_key)
            self.router_name = components.router_name
            check_privileged(self.router_name, components.router)
            self.pool, self.reward = components.pool, components.services.reward
            self.router, self.estimator = components.router, components.estimator
            self.preference, self.seed = components.preference, components.seed
            self._events = PluginEvents(components.plugins)
            self._decider = Decider(components, self._to_log_user, self._events, wake=lambda: self._wake_learner(urgent=False))
            self._guard, self._threads = self._decider.guard, self._decider.threads
            self._closing = threading.RLock()  # a signal may ask for the end while the main thread closes
            self.models, self._loop = components.models, components.services.loop
            self.models.record_attempts(partial(self._threads.run_to_end, self._add_attempt))
            self.learner: Learner | None = None
            if isinstance(self.router, OnlineRouter):
                unusable.callback(components.close_router)
                self.router.attach(self.store, self._to_log_user)
                self.learner = Learner(self.store, self.router, self._events.announce_learned)
            else:
                warn_of_wrapped_learners(self.router)
            unusable.pop_all()

    @classmethod
    def load(
        cls,
        run: str | Path,
        *,
        router: str | Mapping[str, Any] | None = None,
        store: str | None = None,
        seed: int | None = None,
        plugins: Plugins | None = None,
        user_key: str | bytes | None = None,
        allow_untrained: bool = False,
    ) -> MetaController:
        """Return a controller with the components that a run trained.

        Args:
            run: The run's folder; ignored if the router is a folder, which serves with its own run.
            router: One of the run's routers by name, the folder of a trained one, or the options of another with a ``name``; the run's own when None.
            store: The log's URL; ``log.db`` in the run's folder when None.
            seed: The seed of the draws; the run's own when None. A draw also depends on the decision's id, which is random unless it is given.
            plugins: The plugins; the installed ones when None.
            user_key: The key that turns user ids into pseudonyms; None leaves them.
            allow_untrained: Whether to serve another router that requires training although it has none.

        Raises:
            CheckpointError: The run is missing or damaged, or has no such router.
            ConfigError: Another router requires training, or an estimator that the run lacks.
            StoreError: The log cannot be opened.
        """
        components = components_from_run(run, given_or_installed(plugins), router=router, store=store, seed=seed, allow_untrained=allow_untrained)
        return cls(components, user_key=user_key)

    @classmethod
    def build(
        cls,
        *,
        router: str | Mapping[str, Any],
        estimator: str | Mapping[str, Any] | None = None,
        pool: str | Path | Pool = "default",
        reward: str | Mapping[str, Any] = "linear",
        store: str = "memory:",
        preference: PreferenceLike = None,
        seed: int = 0,
        plugins: Plugins | None = None,
        user_key: str | bytes | None = None,
        allow_untrained: bool = False,
    ) -> MetaController:
        """Return a controller of untrained components; the reward's scales come from the pool's own figures.

        Args:
            router: A router's name, or its options with a ``name``.
            estimator: An estimator's name, or its options with a ``name``; None for none.
            pool: A pool, its name or its YAML file.
            reward: A reward's name, or its options with a ``name``.
            store: The log's URL.
            preference: The default preference of requests.
            seed: The seed of all randomness. A draw also depends on the decision's id: to repeat decisions, pass ``decision_id`` to :meth:`route`.
            plugins: The plugins; the installed ones when None.
            user_key: The key that turns user ids into pseudonyms; None leaves them.
            allow_untrained: Whether to serve a router that requires training although it has none.

        Raises:
            ConfigError: A component or an option is unknown, an option is wrong, or the router requires training or an estimator.
        """
        plugins = given_or_installed(plugins)
        given = {"router": router, "estimator": estimator, "reward": reward, "preference": preference, "seed": seed}
        settings = ServingSettings.of(given | ({"pool": str(pool)} if isinstance(pool, str | Path) else {}))
        components = components_from_settings(
            settings, plugins, pool=find_pool(pool, plugins), store=store, preference_given=preference is not None, allow_untrained=allow_untrained
        )
        return cls(components, user_key=user_key)

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        *,
        decision: str | None = None,
        store: str = "memory:",
        plugins: Plugins | None = None,
        user_key: str | bytes | None = None,
    ) -> MetaController:
        """Return a controller of untrained components, as a configuration file names them.

        Args:
            path: A configuration file of the SDK, or one of another system that a plugin reads. Keys without effect are named in a warning.
            decision: The name of one of a foreign file's configurations; the first usable one when None.
            store: The log's URL.
            plugins: The plugins; the installed ones when None.
            user_key: The key that turns user ids into pseudonyms; None leaves them.

        Raises:
            ConfigError: The file cannot be used, or names no router.
        """
        return cls(components_from_file(path, given_or_installed(plugins), decision=decision, store=store), user_key=user_key)

    def route(self, query: str | Query, preference: PreferenceLike = None, **arguments: Unpack[RouteKeywords]) -> Decision:
        """Decide one request; the decision is durable in the log when this returns.

        Args:
            query: The request.
            preference: Weights of quality, cost and latency; the controller's own when None.
            user: The user.
            session: The conversation.
            tenant: The tenant that the user belongs to.
            needs: Abilities that the answer requires.
            unavailable: Names of candidates that are down.
            wait_ms: Time until a candidate could start, in milliseconds, by name.
            state: The present state of the pool; ``unavailable`` and ``wait_ms`` add to it.
            budget_usd: Maximum expected cost of the answer.
            quality_floor: Minimum expected quality, from 0 to 1; the best candidate where none reaches it. Candidates of unknown
                quality stay allowed.
            decision_id: The decision's id, a new one when None; the same request under the same id returns the decision in the log.
            episode: The id that decisions on one task share.

        Raises:
            DataError: An argument cannot be used.
            NoCandidateError: Every candidate is masked; the message gives each one's reason.
            PreferenceError: The preference cannot be used.
            StoreError: The decision could not be logged, its id belongs to another request, or the controller is closed.
            ForkedError: This process is a fork of the one that built the controller.
        """
        return decisions_of(self._decider.decide(self._arguments(query, preference, arguments)))[0]

    def route_explained(self, query: str | Query, preference: PreferenceLike = None, **arguments: Unpack[RouteKeywords]) -> Explanation:
        """Decide one request as :meth:`route` does, with its arguments, and explain the decision without reading it from the log again."""
        return explain(self._decider.decide(self._arguments(query, preference, arguments))[0], self.router, self.reward, self.pool)

    def route_batch(
        self,
        queries: Iterable[str | Query],
        preference: Preferences = None,
        *,
        unavailable: Collection[str] = (),
        state: PoolState | None = None,
        budget_usd: float | None = None,
        quality_floor: float | None = None,
        ids: Sequence[str] | None = None,
        episode: str | None = None,
    ) -> list[Decision]:
        """Decide many requests at once; either all decisions are logged or none.

        Args:
            queries: The B requests.
            preference: One preference for all, or one for each: a list, or an array ``[B, 3]``.
            unavailable: As for :meth:`route`.
            state: As for :meth:`route`.
            budget_usd: As for :meth:`route`, of each answer.
            quality_floor: As for :meth:`route`.
            ids: The decisions' ids, B of them; new ones when None.
            episode: As for :meth:`route`.

        Raises:
            DataError: An argument cannot be used; the message names it.
            NoCandidateError: A request has no candidate, for the reasons given.
            StoreError: The log refuses a decision, or cannot be written.
        """
        batch = queries_of(queries)
        if not batch:
            return []
        self._guard.check()
        arguments = RouteArguments(
            batch, preference, ids=ids, unavailable=unavailable, state=state, budget_usd=budget_usd, quality_floor=quality_floor, episode=episode
        )
        return list(decisions_of(self._decider.decide(arguments)))

    async def aroute(self, query: str | Query, preference: PreferenceLike = None, **arguments: Unpack[RouteKeywords]) -> Decision:
        """Decide one request as :meth:`route` does, with its arguments, without blocking the event loop."""
        return await self._decider.adecide(self._arguments(query, preference, arguments))

    def draw(self, query: str | Query, preference: PreferenceLike = None, **arguments: Unpack[RouteKeywords]) -> Record:
        """Decide one request as :meth:`route` does, with its arguments, but do not log it, for servers that log decisions in batches.

        The decision's id must not leave the process before :meth:`log_decisions` has returned.
        """
        return self._decider.draw(self._arguments(query, preference, arguments))[0]

    async def adraw(self, query: str | Query, preference: PreferenceLike = None, **arguments: Unpack[RouteKeywords]) -> Record:
        """Decide one request as :meth:`draw` does, without blocking the event loop."""
        return (await self._decider.adraw(self._arguments(query, preference, arguments)))[0]

    def log_decisions(self, records: Sequence[Record]) -> Sequence[Decision]:
        """Log decisions of :meth:`draw`, all or none; return them as they are in the log."""
        return self._decider.log(records)

    def log_attempts(self, attempts: Sequence[Attempt], *, urgent: bool = False) -> Sequence[int]:
        """Log attempts, all or none; return their numbers. Also works while the controller closes, because calls may end then."""
        with self._components.store_errors():
            numbers = check_type(self.store.add_attempts(attempts), Sequence, "add_attempts must return the attempts' numbers")
        self._wake_learner(urgent=urgent)
        return numbers

    def attempt(self, decision_id: str, **figures: Unpack[AttemptKeywords]) -> int:
        """Record an attempt: a call that was made for a decision. It is durable in the log when this returns.

        A decision may have several attempts, recorded in any order, before or after feedback.

        Args:
            decision_id: The decision.
            **figures: The fields of :class:`aamc_sdk.Attempt`, such as ``candidate`` (by default the chosen one), ``cost_usd``,
                ``latency_ms``, ``output_tokens``, ``status``, ``error``, and ``n``.

        Returns:
            The attempt's number among the decision's attempts.

        Raises:
            DataError: A figure is unknown, or cannot be used.
            StoreError: The log has ``n`` with other content, the decision had no such candidate, or the controller is closed.
        """
        with self._guard:
            return self._add_attempt(attempt_of(decision_id, figures))

    async def aattempt(self, decision_id: str, **figures: Unpack[AttemptKeywords]) -> int:
        """Record an attempt as :meth:`attempt` does, without blocking the event loop."""
        return await self._threads.run_to_end(self.attempt, decision_id, **figures)

    def feedback(self, decision_id: str, **fields: Unpack[FeedbackKeywords]) -> bool:
        """Record feedback on a decision; it is durable in the log when this returns.

        Args:
            decision_id: The decision; feedback that comes before it is kept until it comes, and a warning names the unknown id.
            **fields: The fields of :class:`aamc_sdk.Feedback`: ``quality`` or ``over``, and ``candidate``,
                ``tie``, ``confidence``, ``weight``, ``source``, ``revision``, ``id``. Figures of the call, ``cost_usd``, ``latency_ms`` and
                ``output_tokens``, are logged as an attempt with the feedback, or, if no other field is given, as a new attempt each time.

        Returns:
            Whether the feedback is new; repeated feedback is ignored.

        Raises:
            AamcError: A field is unknown, or a value cannot be used.
            StoreError: The log has its id with other content, the decision had no such candidate, or the controller is closed.
        """
        feedback, attempt = feedback_of(decision_id, fields, time.time())
        if feedback is not None:
            return self._add_feedback([(feedback, attempt)])[0]
        assert attempt is not None  # figures alone
        with self._guard:
            self._add_attempt(attempt)
        return True

    def feedback_batch(self, feedback: Sequence[Feedback]) -> list[bool]:
        """Record feedback on many decisions in one write, in order, and return whether each is new. Feedback without a time gets the present one.

        Raises:
            DataError: An entry is not an :class:`aamc_sdk.Feedback`.
            StoreError: The log refused an entry. It keeps the entries before that one; the whole batch may be sent again.
        """
        return self._add_feedback([(each, None) for each in with_times(feedback, time.time())])

    async def afeedback(self, decision_id: str, **fields: Unpack[FeedbackKeywords]) -> bool:
        """Record feedback as :meth:`feedback` does, without blocking the event loop."""
        return await self._threads.run(self.feedback, decision_id, **fields)

    def complete(
        self,
        query: str | Query,
        preference: PreferenceLike = None,
        *,
        options: Mapping[str, Any] | None = None,
        on_text: Callable[[str], object] | None = None,
        **arguments: Unpack[RouteKeywords],
    ) -> Completion:
        """Route a request, call the chosen model, and fall back to the router's next allowed choice when a call fails.

        The decision, and every call with its measured cost and latency, are durable in the log when this returns. Candidates that cannot be called,
        such as those without an endpoint, are not chosen. Cancelling :meth:`acomplete` ends the call at the server too.

        Args:
            query: The request; its turns are sent to the model too.
            preference: As for :meth:`route`.
            options: Parameters of the request to the model, such as ``temperature``; they override the candidate's own parameters.
            on_text: Called with each piece of the answer's text, on a worker thread; not a coroutine function. After the first piece no other
                candidate is called. It may raise an error, which ends the call, but must not close the controller. None (default): the whole
                answer at once, which ``options`` with tools require.
            **arguments: As for :meth:`route`.

        Returns:
            The answer with its candidate, decision's id, tokens, cost in USD (NaN where it is unknown) and latency.

        Raises:
            PoolError: No candidate has an endpoint.
            DataError: ``options`` are not a mapping, have ``messages``, ``model``, ``candidate`` or ``decision_id``, or have tools together with
                ``on_text``; or ``on_text`` is a coroutine function.
            ProviderError: Every allowed candidate failed, or one failed after its first text.
        """
        return self._loop.run(self._decider.complete(self._arguments(query, preference, arguments), options, on_text))

    async def acomplete(
        self,
        query: str | Query,
        preference: PreferenceLike = None,
        *,
        options: Mapping[str, Any] | None = None,
        on_text: Callable[[str], object] | None = None,
        **arguments: Unpack[RouteKeywords],
    ) -> Completion:
        """Route and call as :meth:`complete` does, without blocking the event loop, on which ``on_text`` is called: an error in it ends no call."""
        answer = self._decider.complete(self._arguments(query, preference, arguments), options, on_text, asyncio.get_running_loop())
        return await asyncio.wrap_future(self._loop.submit(answer))

    def forget(self, user: str, tenant: str | None = None) -> int:
        """Erase a user, of one tenant or of all, from the log and from the router's state; return the number of the user's decisions.

        The router learns the rest of the log again, and decides requests meanwhile.

        Raises:
            DataError: The user's id cannot be used.
            StoreError: The store cannot forget, or the controller is closed.
        """
        check_name(user, "the user to forget")
        with self._guard, self._components.store_errors():
            decisions = self.store.forget(self._to_log_user(user), tenant)
            self._wake_learner()
        return decisions

    def explain(self, decision_id: str) -> Explanation:
        """Explain a decision from its record.

        Raises:
            DataError: The value is not an id.
            UnknownDecisionError: The log has no decision with that id.
            StoreAwayError: The log cannot be read now.
            StoreError: The decision was made among candidates that are not in this pool.
        """
        self._guard.check()
        return explain(self._components.record(decision_id), self.router, self.reward, self.pool)

    def health(self) -> dict[str, float]:
        """Return plain numbers on the log, see :meth:`aamc_sdk.interfaces.Store.health`, and on a router that learns from it.

        - ``learner_lag``: positions of the log that the router does not know yet.
        - ``staleness_s``: seconds since the router last knew the whole log; 0 if it does now.
        - ``snapshot_age_s``: seconds since the log kept the router's state; 0 if it has the present one, or the router has no snapshots.
        - ``is_learner``: 1 if this process learns from the log, 0 if it applies the deltas of another process.
        """
        with self._components.store_errors():
            health = dict(self.store.health())
            if self.learner is None:
                return health
            end = health.get("position")
            if end is None and not self.store.is_away:
                with suppress(StoreAwayError):
                    end = self.store.position()
        return {**health, **self.learner.health(end)}

    def process_health(self) -> dict[str, float]:
        """Return those numbers of :meth:`health` that differ between processes with the same log, without reading it."""
        with self._components.store_errors():
            health = dict(self.store.process_health())
        return health if self.learner is None else {**health, **self.learner.health()}

    def close(self) -> None:
        """Finish calls, logging and learning, deliver the events and close the store; closing twice, or in a forked child, does nothing."""
        if self._guard.forked:
            return
        self._threads.check_closer()
        with self._closing:
            self._decider.close()
            if self.learner is not None:
                self.learner.close()
            self._components.close_router()
            if self._loop.started:
                self._loop.submit(self.models.close()).result()
            self._loop.close()
            self._threads.close()
            self._events.close()
            self.store.close()

    def __enter__(self) -> MetaController:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _arguments(self, query: str | Query, preference: PreferenceLike, named: RouteKeywords) -> RouteArguments:
        """Return one request with the arguments of :meth:`route`, unless the controller is closed or forked."""
        self._guard.check()
        return RouteArguments.of(query, preference, named)

    def _add_feedback(self, entries: Sequence[tuple[Feedback, Attempt | None]]) -> list[bool]:
        """Write feedback, each with the attempt that it reports, and return whether each is new."""
        with self._guard:
            with self._components.store_errors():
                new = check_type(self.store.add_feedback(entries), list, "add_feedback must return a list of whether each piece is new")
            self._wake_learner()
            if self.learner is None:
                self._events.announce_feedback([feedback for (feedback, _), is_new in zip(entries, new, strict=True) if is_new], self.store)
        return new

    def _add_attempt(self, attempt: Attempt) -> int:
        return self.log_attempts([attempt], urgent=True)[0]

    def _wake_learner(self, *, urgent: bool = True) -> None:
        """Let the router learn the log's new entries now; without ``urgent``, only if it ``learns_attempts``."""
        if self.learner is not None and (urgent or self.learner.learns_attempts):
            self.learner.wake()
