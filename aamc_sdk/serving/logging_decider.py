"""Decisions that are returned once they are durable."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aamc_sdk.errors import StoreError
from aamc_sdk.interfaces import AsyncRouter, Router
from aamc_sdk.routing.arguments import Preferences, RouteArguments
from aamc_sdk.serving.close_guard import CloseGuard
from aamc_sdk.serving.decider import Decider
from aamc_sdk.serving.plugin_events import PluginEvents
from aamc_sdk.serving.worker_threads import WorkerThreads
from aamc_sdk.types import Decision, Query, Record, Records, RoutingRequest, Scores


class LoggingDecider:
    """Decides requests and logs the decisions. A request that was decided before gets the decision in the log.

    Args:
        decider: Scores, draws and writes.
        router: The router.
        guard: Admits work until it is closed.
        events: Announces decisions that are new to the log.
        workers: Run what would block an event loop.
    """

    def __init__(self, decider: Decider, router: Router, guard: CloseGuard, events: PluginEvents, workers: WorkerThreads) -> None:
        self._decider, self._router, self._guard, self._events, self._workers = decider, router, guard, events, workers

    def decide(self, queries: Sequence[Query], preference: Preferences, arguments: RouteArguments, ids: Sequence[str] | None) -> list[Decision]:
        """Return a decision for each query; errors as of :meth:`aamc_sdk.MetaController.route`."""
        known = self._known(queries, preference, arguments, ids)
        return list(self._new(queries, preference, arguments, ids).decisions) if known is None else [record.decision for record in known]

    async def adecide(self, query: Query, preference: Preferences, arguments: RouteArguments) -> Decision:
        """Return the decision of one query without blocking the event loop."""
        asked = [query], preference, arguments
        if not isinstance(self._router, AsyncRouter):
            return (await self._workers.run(self.decide, *asked, arguments.ids))[0]
        known = await self._workers.run(self._known, *asked, arguments.ids)
        if known is not None:
            return known[0].decision
        request = await self._workers.run(self.request, *asked)
        try:
            scores = await self._decider.ascore(request, self._router)
        except asyncio.CancelledError:
            if self._guard.closed:  # cancelled by close, not by the caller
                raise StoreError("the controller is closed") from None
            raise
        return (await self._workers.run(self.log, request, scores, arguments.ids, arguments)).decisions[0]

    def record(self, query: Query, preference: Preferences, arguments: RouteArguments) -> Record:
        """Return the decision of one query with what it was made from."""
        asked = [query], preference, arguments, arguments.ids
        return (self._known(*asked) or self._new(*asked))[0]

    def request(self, queries: Sequence[Query], preference: Preferences, arguments: RouteArguments) -> RoutingRequest:
        """Return the request that the router scores."""
        return self._decider.request(queries, preference, arguments.pool_state, arguments.budget_usd)

    def log(self, request: RoutingRequest, scores: Scores, ids: Sequence[str] | None, arguments: RouteArguments) -> Records:
        """Draw decisions and return them once they are durable."""
        drawn = self._decider.draw(request, scores, ids, arguments)
        with self._guard:  # closing waits until the events of logged decisions are submitted
            records, new = self._decider.log(drawn)
            self._events.decided(new)
        return records

    def _known(self, queries: Sequence[Query], preference: Preferences, arguments: RouteArguments, ids: Sequence[str] | None) -> list[Record] | None:
        """Return the records of decisions that were all asked for before, whatever the pool's state is now; None for others."""
        self._guard.check()
        return None if ids is None else self._decider.logged(queries, preference, arguments, ids)

    def _new(self, queries: Sequence[Query], preference: Preferences, arguments: RouteArguments, ids: Sequence[str] | None) -> Records:
        request = self.request(queries, preference, arguments)
        return self.log(request, self._decider.score(request), ids, arguments)
