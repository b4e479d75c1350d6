"""Deciding requests: build the request, score the candidates, draw, log, and announce."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from functools import partial
from typing import Any

import attrs
import numpy as np

from aamc_sdk.errors import AamcError, OutputError, PluginError, ProviderError, StoreAwayError, StoreError, UnknownDecisionError
from aamc_sdk.interfaces import AsyncRouter, Completion
from aamc_sdk.messages import check_type, router_errors
from aamc_sdk.routing import build_request, decide
from aamc_sdk.routing.draw import above_floor
from aamc_sdk.serving.arguments import RouteArguments, check_call, weights_of
from aamc_sdk.serving.decisions.close_guard import CloseGuard, GuardedThreads
from aamc_sdk.serving.decisions.plugin_events import PluginEvents
from aamc_sdk.serving.models.model_client import conversation
from aamc_sdk.serving.served_components import ServedComponents
from aamc_sdk.types import (
    Decision,
    Floats,
    Preference,
    Query,
    Record,
    Records,
    RoutingRequest,
    Scores,
    new_ids,
    request_fingerprint,
)
from aamc_sdk.types.records import fingerprint_of

logger = logging.getLogger(__name__)


class Decider:
    """Decides requests with one set of components; safe to use from any thread. A request whose id is in the log gets the logged decision.

    Args:
        components: The components.
        to_log_user: Maps an external user id to the id used in requests and the log.
        events: Announces new decisions.
        wake: Called after decisions were logged.

    Attributes:
        guard: Admits work until it is closed.
        threads: The threads for the blocking work of event loops.
    """

    def __init__(self, components: ServedComponents, to_log_user: Callable[[str], str], events: PluginEvents, wake: Callable[[], None]) -> None:
        self._components = components
        self._router = components.router
        self._to_log_user, self._events, self._wake = to_log_user, events, wake
        self.guard = CloseGuard()
        self.threads = GuardedThreads(self.guard)
        self._call_guard = CloseGuard()  # admits calls of models

    def close(self) -> None:
        """Admit no more work, and wait for the work in progress: calls of models first, since their attempts are logged."""
        self._call_guard.close()
        self.guard.close()

    def decide(self, arguments: RouteArguments) -> Sequence[Record]:
        """Return the record of each query's decision; errors as for :meth:`aamc_sdk.MetaController.route`."""
        logged = self._logged_records(arguments)
        if logged is not None:
            return logged
        drawn = self.draw(arguments)
        return Records(self.log(drawn), drawn.request)

    async def adecide(self, arguments: RouteArguments) -> Decision:
        """Return the decision of one query without blocking the event loop."""
        if not isinstance(self._router, AsyncRouter):
            return decisions_of(await self.threads.run(self.decide, arguments))[0]
        logged = await self.threads.run(self._logged_records, arguments)
        if logged is not None:
            return logged[0].decision
        return (await self.threads.run(self.log, await self.adraw(arguments)))[0]

    async def complete(
        self,
        arguments: RouteArguments,
        options: Mapping[str, Any] | None,
        on_text: Callable[[str], object] | None = None,
        caller: asyncio.AbstractEventLoop | None = None,
    ) -> Completion:
        """Decide one query and return the model's answer; arguments and errors as for :meth:`aamc_sdk.MetaController.complete`.

        ``on_text`` is called on the event loop of the caller, or on a worker thread without one.
        """
        check_call(options, on_text)
        show: Callable[[str], Awaitable[object]] | None = None
        if on_text is not None and caller is not None:
            show = partial(_call_on, caller, on_text)
        elif on_text is not None:
            show = partial(self.threads.run_callback, on_text)  # it may block, or complete another request
        models = self._components.models
        pool = self._components.pool
        arguments = attrs.evolve(arguments, state=models.present_state(pool, arguments.state))
        with self._call_guard:
            decision = await self.adecide(arguments)
            return await models.answer(decision, pool, conversation(arguments.queries[0]), options or {}, show)

    def request(self, arguments: RouteArguments) -> RoutingRequest:
        """Return the request that the router scores: estimates, expected outcomes and mask of each query and candidate."""
        served = self._components
        request = build_request(
            self._with_log_users(arguments.queries),
            served.pool,
            self._weights(arguments),
            candidate_means=served.candidate_means,
            state=arguments.pool_state,
            budget_usd=arguments.budget_usd,
            preference_given=arguments.preference is not None or served.preference_given,
            estimator=served.estimator,
        )
        request.check_mask()  # before the router scores, which may cost money
        return request

    def draw(self, arguments: RouteArguments) -> Records:
        """Return a decision for each query, not in the log yet."""
        request = self.request(arguments)
        self.guard.check()  # an asynchronous router would start the closed event loop again
        try:
            with self._router_errors():
                return self.draw_from(self._router.score(request), request, arguments)
        except _bypassed_errors(request) as error:
            return self._choose_without_router(request, arguments, error)

    async def adraw(self, arguments: RouteArguments) -> Records:
        """Return decisions as :meth:`draw` does, without blocking the caller's event loop."""
        router = self._router
        if not isinstance(router, AsyncRouter):
            return await self.threads.run(self.draw, arguments)
        request = await self.threads.run(self.request, arguments)
        with self.guard:  # only until it is submitted, as closing cancels it then
            scoring = router.services.loop.submit(self._score(router, request))
        try:
            with self._router_errors():
                return self.draw_from(await asyncio.wrap_future(scoring), request, arguments)
        except _bypassed_errors(request) as error:
            return self._choose_without_router(request, arguments, error)

    async def _score(self, router: AsyncRouter, request: RoutingRequest) -> Scores:
        """Return an asynchronous router's scores; on the event loop of the components."""
        try:
            return await router.ascore(request)
        except asyncio.CancelledError:
            if self.guard.closed:  # cancelled by close, not by the caller
                raise StoreError("the controller is closed") from None
            raise

    @contextmanager
    def _router_errors(self) -> Iterator[None]:
        """Turn the router's exceptions into an error of the SDK that names the router."""
        with router_errors(self._components.router_name):
            try:
                yield
            except CancelledError:
                if self.guard.closed:  # by close, while a thread waits for an asynchronous router
                    raise StoreError("the controller is closed") from None
                raise

    def draw_from(self, scores: Scores, request: RoutingRequest, arguments: RouteArguments, router: str | None = None) -> Records:
        """Return a drawn decision for each row of a request; it names the served router unless another one is given."""
        served = self._components
        router = served.router_name if router is None else router
        ids = new_ids(len(request)) if arguments.ids is None else arguments.ids
        if arguments.quality_floor is not None:
            request = above_floor(scores, request, arguments.quality_floor)
        drawn = decide(scores, request, ids, router=router, sample=served.router.samples, seed=served.seed, episode=arguments.episode)
        return Records(drawn, request)

    def _choose_without_router(self, request: RoutingRequest, arguments: RouteArguments, error: AamcError) -> Records:
        """Return the decision for the only allowed candidate of each row after the router failed, such as a model that a request names.

        The decisions name no router: they lack what it notes.
        """
        logger.error("the only allowed candidate was chosen without the router: %s", error)
        why = {"why": "The router failed, and no other candidate was allowed."}
        return self.draw_from(Scores(np.zeros(request.mask.shape), notes=[why] * len(request)), request, arguments, router="")

    def log(self, records: Sequence[Record]) -> Sequence[Decision]:
        """Write decisions and announce the new ones; return the decisions as they are in the log."""
        with self.guard:  # closing waits until the events of logged decisions are submitted
            with self._components.store_errors():
                contract = "add_decisions must return the logged decisions, one for each record"
                logged = check_type(self._components.store.add_decisions(records), Sequence, contract)
                new = [decision for decision, kept in zip(decisions_of(records), logged, strict=True) if kept is decision]
            self._events.announce_decisions(new)
        self._wake()
        return logged

    def _logged_records(self, arguments: RouteArguments) -> list[Record] | None:
        """Return the records of the decisions if the log has all of them for these requests, even if the pool's state has changed; else None."""
        if arguments.ids is None:
            return None
        weights = np.broadcast_to(self._weights(arguments), (len(arguments.queries), 3)).tolist()
        records = []
        for query, row, decision_id in zip(self._with_log_users(arguments.queries), weights, arguments.ids, strict=True):
            try:
                record = self._components.record(decision_id)
            except (UnknownDecisionError, StoreAwayError):
                return None
            if request_fingerprint(record) != fingerprint_of(query, Preference(*row), arguments.budget_usd, arguments.quality_floor):
                return None
            records.append(record)
        return records

    def _weights(self, arguments: RouteArguments) -> Floats:
        """Return one preference ``[3]``, or one for each query ``[B, 3]``."""
        return weights_of(arguments.preference, len(arguments.queries), self._components.preference, self._components.preferences)

    def _with_log_users(self, queries: Sequence[Query]) -> list[Query]:
        """Return queries with the user ids that requests and the log have."""
        ids = [None if query.user is None else self._to_log_user(query.user) for query in queries]
        return [query if user == query.user else attrs.evolve(query, user=user) for query, user in zip(queries, ids, strict=True)]


def decisions_of(records: Sequence[Record]) -> Sequence[Decision]:
    """Return the decision of each record."""
    return records.decisions if isinstance(records, Records) else [record.decision for record in records]


async def _call_on(loop: asyncio.AbstractEventLoop, callback: Callable[[str], object], text: str) -> None:
    loop.call_soon_threadsafe(callback, text)


def _bypassed_errors(request: RoutingRequest) -> tuple[type[AamcError], ...]:
    """Return the errors of a router that do not fail a request: none, unless each row allows only one candidate."""
    return () if (request.mask.sum(axis=1) > 1).any() else (PluginError, ProviderError, OutputError)
