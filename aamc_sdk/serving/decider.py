"""Deciding requests: build the request, score the candidates, draw, and log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import attrs
import numpy as np

from aamc_sdk.errors import AamcError, PluginError, StoreAwayError, UnknownDecisionError
from aamc_sdk.interfaces import AsyncRouter
from aamc_sdk.routing import build_request, decide
from aamc_sdk.routing.arguments import Preferences, RouteArguments, check_budget, check_floor, weights_of
from aamc_sdk.routing.draw import above_floor
from aamc_sdk.serving.loading import ServedComponents
from aamc_sdk.types import (
    Decision,
    PoolState,
    Preference,
    Query,
    Record,
    Records,
    RoutingRequest,
    Scores,
    check_name,
    fingerprint_of,
    new_ids,
    request_fingerprint,
)


class _RouterErrors:
    """Turns what a router raises into an error of the SDK that names it. A context manager for any thread."""

    def __init__(self, served: ServedComponents) -> None:
        self._name = served.router_name or type(served.router).__name__

    def __enter__(self) -> None:
        """Do nothing: this is quicker than a generator, for each decision."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, Exception | SystemExit) and not isinstance(error, AamcError):
            raise PluginError(f"router {self._name!r} failed: {type(error).__name__}: {error}") from error


class Decider:
    """Decides requests with one set of components; safe to use from any thread.

    Args:
        components: The components.
        user_id: Maps an external user id to the id used in requests and the log.
    """

    def __init__(self, components: ServedComponents, user_id: Callable[[str], str]) -> None:
        self._components = components
        self._user_id = user_id
        self._naming_the_router = _RouterErrors(components)

    def request(self, queries: Sequence[Query], preference: Preferences, state: PoolState | None, budget_usd: float | None) -> RoutingRequest:
        """Return the request that the router scores: estimates, expected outcomes and mask of each query and candidate.

        Args:
            queries: B queries.
            preference: One for all, or one for each query; the default preference when None.
            state: The present state of the pool; all idle and available when None.
            budget_usd: Maximum expected cost of an answer; None for no limit.

        Raises:
            DataError: The budget is not a number of at least 0.
            NoCandidateError: Every candidate of a row is masked.
            PreferenceError: A preference cannot be used.
        """
        check_budget(budget_usd)
        served = self._components
        known = [self._with_user_id(query) for query in queries]
        request = build_request(
            known,
            served.pool,
            weights_of(preference, len(known), served.preference, served.preferences),
            typical=served.typical,
            state=state,
            budget_usd=budget_usd,
            preference_given=preference is not None or served.preference_given,
            estimator=served.estimator,
        )
        request.check_mask()  # before the router scores, which may cost money
        return request

    def logged(self, queries: Sequence[Query], preference: Preferences, arguments: RouteArguments, ids: Sequence[str]) -> list[Record] | None:
        """Return the records of the decisions that the log has for these requests; None unless it has each of them.

        Raises:
            DataError: The budget is not a number of at least 0, the minimum quality none from 0 to 1, or an id is no text.
            PreferenceError: A preference cannot be used.
        """
        check_budget(arguments.budget_usd)
        check_floor(arguments.quality_floor)
        served = self._components
        weights = np.broadcast_to(weights_of(preference, len(queries), served.preference, served.preferences), (len(queries), 3)).tolist()
        records = []
        for query, row, decision_id in zip(queries, weights, ids, strict=True):
            check_name(decision_id, "a decision's id")
            try:
                record = served.store.record(decision_id)
            except (UnknownDecisionError, StoreAwayError):
                return None
            asked = fingerprint_of(self._with_user_id(query), Preference(*row), arguments.budget_usd, arguments.quality_floor)
            if request_fingerprint(record) != asked:
                return None
            records.append(record)
        return records

    def _with_user_id(self, query: Query) -> Query:
        user = None if query.user is None else self._user_id(query.user)
        return query if user == query.user else attrs.evolve(query, user=user)

    def score(self, request: RoutingRequest) -> Scores:
        """Return the router's scores.

        Raises:
            PluginError: The router failed, or returned something else.
        """
        with self._naming_the_router:
            return self._components.router.score(request)

    async def ascore(self, request: RoutingRequest, router: AsyncRouter) -> Scores:
        """Return an asynchronous router's scores without blocking the caller's event loop; errors as for :meth:`score`."""
        with self._naming_the_router:
            return await asyncio.wrap_future(router.services.loop.submit(router.ascore(request)))

    def draw(self, request: RoutingRequest, scores: Scores, ids: Sequence[str] | None, arguments: RouteArguments) -> Records:
        """Draw a decision for each row.

        Args:
            request: The request, B rows.
            scores: The router's scores.
            ids: The decisions' ids, B of them; new ones when None.
            arguments: The minimum quality, and the episode that the decisions belong to.

        Returns:
            The decisions with the request as it was drawn from, where candidates below the minimum quality are masked.

        Raises:
            DataError: The minimum quality is not a number from 0 to 1.
            PluginError: The scores cannot be used.
        """
        served, episode = self._components, arguments.episode
        names = new_ids(len(request)) if ids is None else ids
        with self._naming_the_router:
            if arguments.quality_floor is not None:
                request = above_floor(request, scores, arguments.quality_floor)
            drawn = decide(request, scores, names, router=served.router_name, sample=served.router.samples, seed=served.seed, episode=episode)
        return Records(drawn, request)

    def log(self, drawn: Records) -> tuple[Records, list[Decision]]:
        """Write decisions; return the records when they are durable in the log, and those decisions that are new to it.

        Raises:
            StoreError: A decision could not be logged, or its id belongs to another request.
        """
        logged = self._components.store.add_decisions(drawn)
        new = [decision for decision, kept in zip(drawn.decisions, logged, strict=True) if kept is decision]
        return Records(logged, drawn.request), new
