"""Deciding requests: build the request, score the candidates, draw, log, and announce."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError
from functools import partial
from typing import Any

import attrs
import numpy as np

from aamc_sdk.errors import AamcError, DataError, PluginError, StoreAwayError, StoreError, UnknownDecisionError, router_error
from aamc_sdk.interfaces import AsyncRouter, Completion
from aamc_sdk.routing import build_request, decide
from aamc_sdk.routing.arguments import RouteArguments, weights_of
from aamc_sdk.routing.draw import above_floor
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
    check_name,
    new_ids,
    request_fingerprint,
)
from aamc_sdk.types.records import fingerprint_of


class _RouterErrors:
    """Turns a router's exceptions into an error of the SDK that names the router. A context manager for any thread."""

    def __init__(self, served: ServedComponents, guard: CloseGuard) -> None:
        self._name, self._guard = served.router_name, guard

    def __enter__(self) -> None:
        """Do nothing: this is quicker than a generator, for each decision."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None:
            return
        if isinstance(error, CancelledError) and self._guard.closed:  # by close, while a thread waits for an asynchronous router
            raise StoreError("the controller is closed") from None
        if isinstance(error, Exception | SystemExit) and (isinstance(error, PluginError) or not isinstance(error, AamcError)):
            raise router_error(self._name, error) from error


class Decider:
    """Decides requests with one set of components; safe to use from any thread. A request that was decided before gets the decision in the log.

    Args:
        components: The components.
        user_id: Maps an external user id to the id used in requests and the log.
        guard: Admits work until it is closed.
        threads: Do work that would block an event loop.
        calls: Admits calls of models until it is closed.
        events: Announces decisions that are new to the log.
    """

    def __init__(
        self,
        components: ServedComponents,
        user_id: Callable[[str], str],
        guard: CloseGuard,
        threads: GuardedThreads,
        calls: CloseGuard,
        events: PluginEvents,
    ) -> None:
        self._components, self._router = components, components.router
        self._user_id, self._guard, self._threads, self._calls, self._events = user_id, guard, threads, calls, events
        self._router_errors = _RouterErrors(components, guard)

    def decide(self, asked: RouteArguments) -> list[Decision]:
        """Return a decision for each query; errors as for :meth:`aamc_sdk.MetaController.route`."""
        logged = self._logged(asked)
        if logged is not None:
            return [record.decision for record in logged]
        return list(self.log(self.drawn(asked)))

    def record(self, asked: RouteArguments) -> Record:
        """Return the record of one query's decision."""
        logged = self._logged(asked)
        if logged is not None:
            return logged[0]
        drawn = self.drawn(asked)
        return Records(self.log(drawn), drawn.request)[0]

    async def adecide(self, asked: RouteArguments) -> Decision:
        """Return the decision of one query without blocking the event loop."""
        if not isinstance(self._router, AsyncRouter):
            return (await self._threads.run(self.decide, asked))[0]
        logged = await self._threads.run(self._logged, asked)
        if logged is not None:
            return logged[0].decision
        return (await self._threads.run(self.log, await self.adrawn(asked)))[0]

    async def complete(self, asked: RouteArguments, options: Mapping[str, Any] | None, on_text: Callable[[str], object] | None = None) -> Completion:
        """Decide one query and return the model's answer; arguments and errors as for :meth:`aamc_sdk.MetaController.complete`."""
        if options is not None and not isinstance(options, Mapping):
            raise DataError(f"options must be a mapping such as {{'temperature': 0}}, not {options!r:.80}")
        for name in ("messages", "model"):
            if options and name in options:
                raise DataError(f"options must not have {name!r}, which the query and the chosen candidate determine; leave it out")
        if on_text is not None and not callable(on_text):
            raise DataError(f"on_text must be a function of a text, not {on_text!r:.80}")
        if on_text is not None and options and options.get("tools"):
            raise DataError("an answer with tool calls does not come piece by piece; leave on_text out, or the tools")
        show = None if on_text is None else partial(self._threads.run, on_text)  # it may block, or complete another request
        models, pool = self._components.models, self._components.pool
        asked = attrs.evolve(asked, state=models.present_state(pool, asked.state))
        with self._calls:
            decision = await self.adecide(asked)
            return await models.answer(decision, pool, conversation(asked.queries[0]), options or {}, show)

    def request(self, asked: RouteArguments) -> RoutingRequest:
        """Return the request that the router scores: estimates, expected outcomes and mask of each query and candidate."""
        served = self._components
        request = build_request(
            self._known(asked.queries),
            served.pool,
            self._weights(asked),
            candidate_means=served.candidate_means,
            state=asked.pool_state,
            budget_usd=asked.budget_usd,
            preference_given=asked.preference is not None or served.preference_given,
            estimator=served.estimator,
        )
        request.check_mask()  # before the router scores, which may cost money
        return request

    def drawn(self, asked: RouteArguments) -> Records:
        """Return a decision for each query, not in the log yet."""
        request = self.request(asked)
        with self._router_errors:
            return self.draw(request, self._router.score(request), asked)

    async def adrawn(self, asked: RouteArguments) -> Records:
        """Return decisions as :meth:`drawn` does, without blocking the caller's event loop."""
        router = self._router
        if not isinstance(router, AsyncRouter):
            return await self._threads.run(self.drawn, asked)
        request = await self._threads.run(self.request, asked)
        with self._guard:  # only until it is submitted, as closing cancels it then
            scoring = router.services.loop.submit(self._scored(router, request))
        with self._router_errors:
            return self.draw(request, await asyncio.wrap_future(scoring), asked)

    async def _scored(self, router: AsyncRouter, request: RoutingRequest) -> Scores:
        """Return an asynchronous router's scores; on the event loop of the components."""
        try:
            return await router.ascore(request)
        except asyncio.CancelledError:
            if self._guard.closed:  # cancelled by close, not by the caller
                raise StoreError("the controller is closed") from None
            raise

    def draw(self, request: RoutingRequest, scores: Scores, asked: RouteArguments) -> Records:
        """Draw a decision for each row."""
        served = self._components
        ids = new_ids(len(request)) if asked.ids is None else asked.ids
        if asked.quality_floor is not None:
            request = above_floor(request, scores, asked.quality_floor)
        drawn = decide(request, scores, ids, router=served.router_name, sample=served.router.samples, seed=served.seed, episode=asked.episode)
        return Records(drawn, request)

    def log(self, records: Sequence[Record]) -> Sequence[Decision]:
        """Write decisions and announce the new ones; return the decisions as they are in the log."""
        decisions = records.decisions if isinstance(records, Records) else [record.decision for record in records]
        with self._guard:  # closing waits until the events of logged decisions are submitted
            with self._components.store_errors():
                logged = self._components.store.add_decisions(records)
                new = [decision for decision, kept in zip(decisions, logged, strict=True) if kept is decision]
            self._events.decided(new)
        return logged

    def _logged(self, asked: RouteArguments) -> list[Record] | None:
        """Return the records of the decisions if the log has all of them for these requests, even if the pool's state has changed; else None."""
        if asked.ids is None:
            return None
        weights = np.broadcast_to(self._weights(asked), (len(asked.queries), 3)).tolist()
        records = []
        for query, row, decision_id in zip(self._known(asked.queries), weights, asked.ids, strict=True):
            check_name(decision_id, "a decision's id")
            try:
                with self._components.store_errors():
                    record = self._components.store.record(decision_id)
            except (UnknownDecisionError, StoreAwayError):
                return None
            if request_fingerprint(record) != fingerprint_of(query, Preference(*row), asked.budget_usd, asked.quality_floor):
                return None
            records.append(record)
        return records

    def _weights(self, asked: RouteArguments) -> Floats:
        """Return one preference ``[3]``, or one for each query ``[B, 3]``."""
        return weights_of(asked.preference, len(asked.queries), self._components.preference, self._components.preferences)

    def _known(self, queries: Sequence[Query]) -> list[Query]:
        """Return queries with the ids of users that requests and the log have."""
        ids = [None if query.user is None else self._user_id(query.user) for query in queries]
        return [query if user == query.user else attrs.evolve(query, user=user) for query, user in zip(queries, ids, strict=True)]
