"""MetaController: what applications embed. It routes, logs, hears feedback and explains."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import numpy as np

from aamc_sdk.config import ServingSettings
from aamc_sdk.errors import ConfigError, DataError, StoreError, one_of
from aamc_sdk.plugins import Plugins, get_plugin_manager
from aamc_sdk.routing import build_request, decide, find_pool
from aamc_sdk.routing.arguments import PreferenceLike, Preferences, attempt_of, is_number, names_of, queries_of, query_of, timed, weights_of
from aamc_sdk.serving.close_guard import CloseGuard
from aamc_sdk.serving.learner import Learner, learns
from aamc_sdk.serving.loading import ServedComponents, components_from_file, load_components, make_components
from aamc_sdk.serving.pseudonyms import is_key, pseudonym
from aamc_sdk.types import Decision, Feedback, Pool, Query, Records, RoutingRequest, Scores, check_name, new_ids

if TYPE_CHECKING:
    from aamc_sdk.explain import Explanation

T = TypeVar("T")
_THREADS = 32
"""Calls of the asynchronous face that may be at work at once; most of the time they wait for the log."""


class MetaController:
    """Decides, per request, which candidate should do the work.

    Safe to use from any thread and inside a running event loop. A context manager; it owns its
    store and closes it.

    Args:
        components: The components to serve with; their store is closed where they cannot be used.
        user_key: The key that turns user ids into pseudonyms before the router, the log and events see them; None leaves them.

    Raises:
        ConfigError: The router is privileged: it needs to know outcomes in advance. Or the key is empty, or not a key.
    """

    def __init__(self, components: ServedComponents, *, user_key: str | bytes | None = None) -> None:
        store, router = components.store, components.router
        if user_key is not None and not is_key(user_key):
            store.close()
            raise ConfigError("the key of user ids is a text or bytes, and not empty; give a long random one, or None to leave user ids as they are")
        if router.privileged:
            store.close()
            name = components.router_name or type(router).__name__
            raise ConfigError(f"router {name!r} must know outcomes in advance: it is a yardstick and cannot decide requests; choose another")
        self.pool = components.pool
        self.reward = components.reward
        self.router = router
        self.store = store
        self.estimator = components.estimator
        self.preference = components.preference
        self._preference_given = components.preference_given
        self.seed = components.seed
        self.router_name = components.router_name
        self._preferences = dict(components.preferences)
        self._typical = components.typical
        self._user_key = user_key
        self._plugins = components.plugins
        self._heard = {event for event in ("aamc_decided", "aamc_learned") if self._plugins is not None and self._plugins.hears(event)}
        self._door = CloseGuard()
        self._events = ThreadPoolExecutor(1, "aamc-events")  # one thread: events keep their order
        self._workers = ThreadPoolExecutor(_THREADS, "aamc-controller")
        router.serve(store, self._known_as)
        self.learner = Learner(store, router, self._tell_learned) if learns(router) else None

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
    ) -> MetaController:
        """Return a controller with the components that a run trained.

        Args:
            run: The run's folder.
            router: The name of one of the run's routers, or the options of another one with a ``name``, such as a canary of two;
                the run's own when None.
            store: The log's URL; ``log.db`` in the run's folder when None.
            seed: The seed of the draws; the run's own when None.
            plugins: The installed ones when None.
            user_key: The key that turns user ids into pseudonyms; None leaves them.

        Raises:
            CheckpointError: There is no such run, it has no such router, or it is damaged.
            StoreError: The log cannot be opened.
        """
        components = load_components(run, plugins or get_plugin_manager(), router=router, store=store, seed=seed)
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
    ) -> MetaController:
        """Return a controller of untrained components; the reward's scales come from the pool's own figures.

        Args:
            router: A router's name, or its options with a ``name``.
            estimator: An estimator's name, or its options with a ``name``; None for none.
            pool: A pool, its name or its YAML file.
            reward: A reward's name, or its options with a ``name``.
            store: The log's URL.
            preference: The preference of requests that give none.
            seed: The seed of all randomness.
            plugins: The installed ones when None.
            user_key: The key that turns user ids into pseudonyms; None leaves them.
        """
        plugins = plugins or get_plugin_manager()
        named = {"router": router, "estimator": estimator, "reward": reward, "preference": preference, "seed": seed}
        candidates = pool if isinstance(pool, Pool) else find_pool(pool, plugins)
        components = make_components(ServingSettings.of(named), plugins, pool=candidates, store=store, preference_given=preference is not None)
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
            path: A configuration file: ours, or one of another system that a plugin reads. Keys without effect are named in a warning.
            decision: The name of one of a foreign file's configurations; the first usable one when None.
            store: The log's URL.
            plugins: The installed ones when None.
            user_key: The key that turns user ids into pseudonyms; None leaves them.

        Raises:
            ConfigError: The file cannot be used, or names no router.
        """
        return cls(components_from_file(path, plugins or get_plugin_manager(), decision=decision, store=store), user_key=user_key)

    def route(
        self,
        query: str | Query,
        preference: PreferenceLike = None,
        *,
        user: str | None = None,
        session: str | None = None,
        needs: Collection[str] = (),
        unavailable: Collection[str] = (),
        budget_usd: float | None = None,
        decision_id: str | None = None,
    ) -> Decision:
        """Decide one request; the decision is in the log when this returns.

        Args:
            query: What is asked.
            preference: Weights of quality, cost and latency; the controller's own when None.
            user: Who asks.
            session: The conversation that it belongs to.
            needs: Abilities that the answer requires.
            unavailable: Names of candidates that are down.
            budget_usd: Most that the answer may be expected to cost.
            decision_id: Names the decision; a new id when None. The same request under the same id
                draws the same candidate.

        Raises:
            DataError: The query, the budget or the id is none.
            NoCandidateError: Nothing is left to choose; the message gives each candidate's reason.
            PreferenceError: The preference cannot be used.
            StoreError: The decision could not be logged, its id is taken, or the controller is closed.
        """
        alone, ids = _alone(query, user, session, needs, decision_id)
        return self.route_batch(alone, preference, unavailable=unavailable, budget_usd=budget_usd, ids=ids)[0]

    def route_batch(
        self,
        queries: Iterable[str | Query],
        preference: Preferences = None,
        *,
        unavailable: Collection[str] = (),
        budget_usd: float | None = None,
        ids: Sequence[str] | None = None,
    ) -> list[Decision]:
        """Decide many requests at once, all or none.

        Args:
            queries: B of them.
            preference: One for all, or one each: a list, or an array ``[B, 3]``.
            unavailable: As for :meth:`route`.
            budget_usd: As for :meth:`route`.
            ids: The decisions' ids, B of them; new ones when None.
        """
        asked = queries_of(queries)
        if not asked:
            return []
        request = self._request(asked, preference, unavailable, budget_usd)
        return self._decide(request, self.router.score(request), ids)

    async def aroute(
        self,
        query: str | Query,
        preference: PreferenceLike = None,
        *,
        user: str | None = None,
        session: str | None = None,
        needs: Collection[str] = (),
        unavailable: Collection[str] = (),
        budget_usd: float | None = None,
        decision_id: str | None = None,
    ) -> Decision:
        """Decide one request as :meth:`route` does, without holding up the event loop."""
        alone, ids = _alone(query, user, session, needs, decision_id)
        request = await self._aside(self._request, alone, preference, unavailable, budget_usd)
        scores = await self.router.ascore(request)
        return (await self._aside(self._decide, request, scores, ids))[0]

    def feedback(
        self,
        decision_id: str,
        *,
        cost_usd: float | None = None,
        latency_ms: float | None = None,
        output_tokens: int | None = None,
        **judgement: Any,
    ) -> bool:
        """Say what came of a decision; it is in the log when this returns.

        Args:
            decision_id: The decision; one that has not come yet is waited for.
            cost_usd: What the call cost. With ``latency_ms`` and ``output_tokens`` it is logged as the call that was judged.
            latency_ms: How long the call took.
            output_tokens: How long the answer was.
            **judgement: The fields of :class:`aamc_sdk.types.Feedback`: ``quality`` or ``over``, and ``candidate``,
                ``tie``, ``confidence``, ``weight``, ``source``, ``id``.

        Returns:
            Whether it is new; the same feedback a second time counts for nothing.

        Raises:
            AamcError: A number is out of its range.
            StoreError: Its id is known with other content, the decision had no such candidate, or the controller is closed.
        """
        feedback = Feedback(decision_id=decision_id, **{"time": time.time(), **judgement})
        attempt = attempt_of(feedback, cost_usd, latency_ms, output_tokens)
        with self._door:
            new = self.store.add_feedback([(feedback, attempt)])[0]
            if self.learner is not None:
                self.learner.wake()
            elif new:
                self._tell_learned(feedback)
        return new

    def feedback_batch(self, judgements: Sequence[Feedback]) -> list[bool]:
        """Say what came of many decisions at once, which takes one wait for the log instead of many.

        Args:
            judgements: In the order in which they count; one without a time is given the present one.

        Returns:
            Which of them are new.

        Raises:
            DataError: One is no :class:`aamc_sdk.types.Feedback`.
            StoreError: One was refused. Those before it are kept, those after it are not; the whole may be given again.
        """
        now = time.time()
        given = [timed(feedback, now) for feedback in judgements]
        with self._door:
            new = self.store.add_feedback([(feedback, None) for feedback in given])
            if self.learner is not None:
                self.learner.wake()
            else:
                for feedback in itertools.compress(given, new):
                    self._tell_learned(feedback)
        return new

    async def afeedback(self, decision_id: str, **fields: Any) -> bool:
        """Say what came of a decision as :meth:`feedback` does, without holding up the event loop."""
        return await self._aside(self.feedback, decision_id, **fields)

    def forget(self, user: str) -> int:
        """Erase a user from the log and from what was learned; return how many decisions were theirs.

        The router learns the rest of the log again, beside the requests that it decides meanwhile.

        Raises:
            DataError: It is no user's id.
            StoreError: The store cannot forget, or the controller is closed.
        """
        check_name(user, "the user to forget")
        with self._door:
            decisions = self.store.forget(self._known_as(user))
            if self.learner is not None:
                self.learner.wake()
        return decisions

    def explain(self, decision_id: str) -> Explanation:
        """Say why a decision was made, and what would have changed it.

        Raises:
            UnknownDecisionError: The log has none of that id.
            StoreAwayError: The log cannot be read now, so nobody knows.
            StoreError: The decision was made among candidates that are not in this pool.
        """
        from aamc_sdk.explain import explain

        record = self.store.record(decision_id)
        if not set(record.candidates) & set(self.pool.names):
            raise StoreError(f"decision {decision_id!r} was made among other candidates ({one_of(record.candidates)}); name the run that made it")
        return explain(record, self.router, self.reward, self.pool)

    def close(self) -> None:
        """Finish what is being logged and learned, deliver the events and close the store; closing twice does nothing."""
        self._door.close()
        if self.learner is not None:
            self.learner.close()
        self.router.close()
        self._workers.shutdown()
        self._events.shutdown()
        self.store.close()

    def __enter__(self) -> MetaController:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _request(self, queries: Sequence[Query], preference: Preferences, unavailable: Collection[str], budget_usd: float | None) -> RoutingRequest:
        if budget_usd is not None and not is_number(budget_usd):
            raise DataError(f"budget_usd must be a number in USD, not {budget_usd!r:.80}")
        asked = [self._as_known(query) for query in queries]
        estimates = None if self.estimator is None else self.estimator.estimate(asked)
        quality = None if self.estimator is None or estimates is None else self.estimator.quality(estimates, self.pool)
        down = np.isin(np.arange(len(self.pool)), [self.pool.index(name) for name in names_of(unavailable, "unavailable")]) if unavailable else None
        weights = weights_of(preference, len(asked), self.preference, self._preferences)
        request = build_request(
            asked,
            self.pool,
            weights,
            estimates=estimates,
            quality=quality,
            typical=self._typical,
            unavailable=down,
            budget_usd=budget_usd,
            preference_given=preference is not None or self._preference_given,
        )
        request.check_mask()  # before the router is asked
        return request

    def _as_known(self, query: Query) -> Query:
        """Return the query as the router and the log may see it."""
        if query.user is None or self._user_key is None:
            return query
        return attrs.evolve(query, user=self._known_as(query.user))

    def _known_as(self, user: str) -> str:
        """Return what router and log call a user."""
        return user if self._user_key is None else pseudonym(user, self._user_key)

    def _decide(self, request: RoutingRequest, scores: Scores, ids: Sequence[str] | None) -> list[Decision]:
        names = new_ids(len(request)) if ids is None else ids
        with self._door:  # what is in the log is also told: closing waits
            decisions = decide(request, scores, names, router=self.router_name, sample=self.router.samples, seed=self.seed)
            self.store.add_decisions(Records(decisions, request))
            if "aamc_decided" in self._heard:
                for decision in decisions:
                    self._tell("aamc_decided", decision=decision)
        return decisions

    def _tell(self, event: str, **arguments: Any) -> None:
        if self._plugins is not None and event in self._heard:
            self._events.submit(self._plugins.tell, event, **arguments)

    def _tell_learned(self, feedback: Feedback) -> None:
        self._tell("aamc_learned", feedback=feedback)

    async def _aside(self, work: Callable[..., T], *arguments: Any, **fields: Any) -> T:
        """Do blocking work on a thread of the controller's own."""
        with self._door:  # only while it is handed over: closing must not wait for a loop that may be its own caller's
            future = asyncio.get_running_loop().run_in_executor(self._workers, partial(work, *arguments, **fields))
        return await future


def _alone(
    query: str | Query, user: str | None, session: str | None, needs: Collection[str], decision_id: str | None
) -> tuple[list[Query], list[str] | None]:
    """Return the batch that one query makes, and its decision's id where that was given."""
    return [query_of(query, user, session, needs)], None if decision_id is None else [decision_id]
