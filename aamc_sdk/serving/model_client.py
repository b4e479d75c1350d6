"""The client for calling models: finds the provider of a candidate's endpoint, prices the usage, records the attempt."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import attrs

from aamc_sdk.errors import AamcError, PoolError, ProviderError
from aamc_sdk.interfaces import Completion, Message, Provider, Usage
from aamc_sdk.serving.pool_tracker import PoolTracker
from aamc_sdk.types import Attempt, Candidate, Decision, Endpoint, ModelSpec, Pool, PoolState, Query

MakeProvider = Callable[[Endpoint], Provider]
Record = Callable[[Attempt], Awaitable[object]]


class ModelClient:
    """Calls candidates by their endpoints.

    A provider is made once for each candidate and kept. Costs are the provider's own figure if it reports one, else list prices
    times usage; NaN if neither is known. Every call with a decision's id is recorded as an attempt, failed and cancelled calls included.

    Args:
        make_provider: Makes the provider of an endpoint.

    Attributes:
        tracker: Counts the calls in flight.
    """

    def __init__(self, make_provider: MakeProvider) -> None:
        self._make_provider = make_provider
        self._providers: dict[Candidate, Provider] = {}
        self._record: Record | None = None
        self.tracker = PoolTracker()

    def record_attempts(self, record: Record) -> None:
        """Set the function that records the attempts of all further calls."""
        self._record = record

    def provider(self, candidate: Candidate) -> Provider:
        """Return the provider of a candidate's endpoint.

        Raises:
            PoolError: The candidate has no endpoint.
            AamcError: No plugin offers the provider, or an option of the endpoint is wrong.
        """
        if candidate not in self._providers:
            if not isinstance(candidate, ModelSpec) or candidate.endpoint is None:
                raise PoolError(f"candidate {candidate.name!r} has no endpoint: add one to the pool file, such as endpoint: {{provider: echo}}")
            self._providers[candidate] = self._make_provider(Endpoint.of(candidate.endpoint))
        return self._providers[candidate]

    async def complete(self, candidate: Candidate, messages: Sequence[Message], *, decision_id: str | None = None, **options: Any) -> Completion:
        """Return a candidate's answer with its cost and latency.

        Args:
            candidate: The candidate to call.
            messages: The conversation, as messages of the provider's dialect.
            decision_id: The decision that the call is made for; with it, the call is recorded as an attempt.
            **options: Parameters of the request; they win over those of the candidate.

        Raises:
            PoolError: The candidate has no endpoint.
            ProviderError: The call failed.
        """
        provider = self.provider(candidate)
        parameters = dict(candidate.parameters) if isinstance(candidate, ModelSpec) else {}
        began = time.monotonic()
        with self.tracker.call(candidate):
            try:
                answer = _checked(await provider.complete(candidate, messages, **{**parameters, **options}))
            except asyncio.CancelledError:
                await self._attempted(decision_id, candidate, _milliseconds(began), status="cancelled", error="the caller cancelled the call")
                raise
            except (Exception, SystemExit) as error:
                await self._attempted(decision_id, candidate, _milliseconds(began), status="error", error=str(error) or type(error).__name__)
                if isinstance(error, AamcError):
                    raise
                raise ProviderError(f"calling {candidate.name!r} failed: {type(error).__name__}: {error}") from error
        cost_usd, source = (answer.cost_usd, "reported") if not math.isnan(answer.cost_usd) else price(candidate, answer.usage)
        latency_ms = _milliseconds(began)
        usage = answer.usage
        await self._attempted(
            decision_id,
            candidate,
            latency_ms,
            cost_usd=cost_usd,
            cost_source=source,
            **{name: getattr(usage, name) for name in ("prompt_tokens", "cached_tokens", "reasoning_tokens", "output_tokens")},
        )
        return attrs.evolve(answer, cost_usd=cost_usd, latency_ms=latency_ms, candidate=candidate.name, decision_id=decision_id)

    def present_state(self, pool: Pool, given: PoolState | None) -> PoolState:
        """Return the state of a pool for a request that will be answered: candidates without an endpoint are unavailable.

        Args:
            pool: The candidates.
            given: The state that the caller knows; that of this client's own calls when None.

        Raises:
            PoolError: No candidate has an endpoint.
        """
        uncallable = [candidate.name for candidate in pool if not isinstance(candidate, ModelSpec) or candidate.endpoint is None]
        if len(uncallable) == len(pool):
            raise PoolError("no candidate of the pool has an endpoint, so none can be called; add endpoints to the pool file")
        return (given or self.tracker.state(pool) or PoolState()).without(uncallable)

    async def answer(self, decision: Decision, pool: Pool, messages: Sequence[Message], options: Mapping[str, Any]) -> Completion:
        """Return the answer of a decision's candidate, or of the router's next allowed choice when a call fails.

        Args:
            decision: The decision.
            pool: The candidates.
            messages: The conversation.
            options: Parameters of the request.

        Raises:
            ProviderError: Every allowed candidate failed.
        """
        others = sorted((name for name in decision.utilities if name != decision.candidate), key=lambda name: -decision.utilities[name])
        errors = []
        for name in (decision.candidate, *others):
            try:
                return await self.complete(pool.candidates[pool.index(name)], messages, decision_id=decision.id, **options)
            except ProviderError as error:
                errors.append(str(error))
        raise ProviderError(f"no candidate answered: {'; '.join(errors)}")

    async def _attempted(self, decision_id: str | None, candidate: Candidate, latency_ms: float, **figures: Any) -> None:
        if decision_id is not None and self._record is not None:
            await self._record(Attempt(decision_id, candidate=candidate.name, latency_ms=latency_ms, **figures))

    async def close(self) -> None:
        """Close the providers that can be closed."""
        for provider in self._providers.values():
            close = getattr(provider, "close", None)
            if close is not None:
                with suppress(Exception):  # an error of one provider must not keep the others open
                    await close()


def _checked(answer: object) -> Completion:
    """Return a provider's answer.

    Raises:
        TypeError: It is something else.
        ValueError: Its cost is negative.
    """
    if not isinstance(answer, Completion) or not isinstance(answer.usage, Usage):
        raise TypeError(f"the provider must return an aamc_sdk.Completion with its Usage, not {answer!r:.80}")
    if not (math.isnan(answer.cost_usd) or 0 <= answer.cost_usd < math.inf):
        raise ValueError(f"the answer's cost_usd must be at least 0, or NaN if unknown, not {answer.cost_usd!r}")
    return answer


def conversation(query: Query) -> list[Message]:
    """Return a query's turns and text as messages of OpenAI's dialect."""
    earlier: list[Message] = [{"role": turn.role, "content": turn.content} for turn in query.turns]
    return [*earlier, {"role": "user", "content": query.text}]


def price(candidate: Candidate, usage: Usage) -> tuple[float, str]:
    """Return the cost in USD by list prices, and its source; NaN and ``""`` where prices or tokens are unknown."""
    prices = candidate.prices if isinstance(candidate, ModelSpec) else None
    if prices is None or usage.prompt_tokens is None or usage.output_tokens is None:
        return math.nan, ""
    cached = usage.cached_tokens or 0
    cached_price = prices.input if prices.cached_input is None else prices.cached_input
    tokens_usd = (usage.prompt_tokens - cached) * prices.input + cached * cached_price + usage.output_tokens * prices.output
    return tokens_usd / 1e6 + prices.request, "priced"


def _milliseconds(since: float) -> float:
    return 1000 * (time.monotonic() - since)
