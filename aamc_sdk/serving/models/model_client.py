"""The client for calling models: finds the provider of a candidate's endpoint, calls it, and knows which candidates can be called."""

from __future__ import annotations

import asyncio
import copy
import logging
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import attrs

from aamc_sdk.errors import ConfigError, PluginError, PoolError, ProviderError
from aamc_sdk.interfaces import Chunk, Completion, EndpointState, Message, Provider, Usage, without_replaced_limits
from aamc_sdk.messages import check_type, component_errors, error_text, failures_text
from aamc_sdk.serving.models.call import CANCELLED, Call, RecordAttempt, settled_attempts
from aamc_sdk.serving.models.calls_in_flight import PoolTracker
from aamc_sdk.types import Attempt, Candidate, Decision, Endpoint, Pool, PoolState, Query, text_bytes

logger = logging.getLogger(__name__)
CLOSE_S = 5.0
"""Maximum time in seconds for which providers close: the program must end although a server does not answer."""
MakeProvider = Callable[[Endpoint], Provider]
_NOTHING_KNOWN, _AVAILABLE = PoolState(), EndpointState()
CALL_ARGUMENTS = ("candidate", "decision_id", "messages", "model")
"""Names that the parameters of a request to a model cannot have: the call itself sets them."""


class ModelClient:
    """Calls candidates by their endpoints.

    A provider is made once for each candidate and kept. Costs are the provider's own figure if it reports one, else list prices
    times usage; NaN if neither is known. Every call with a decision's id is recorded as an attempt, failed and cancelled calls included.

    Attributes:
        tracker: Counts the calls in flight.
    """

    def __init__(self, make_provider: MakeProvider) -> None:
        self._make_provider = make_provider
        self._providers: dict[Candidate, Provider] = {}
        self._making = threading.RLock()
        self._record: RecordAttempt | None = None
        self._without_state: set[str] = set()
        self.tracker = PoolTracker()

    def record_attempts(self, record: RecordAttempt) -> None:
        """Set the function that records the attempts of all further calls."""
        self._record = record

    def provider(self, candidate: Candidate) -> Provider:
        """Return the provider of a candidate's endpoint.

        Raises:
            PoolError: The candidate has no endpoint.
            AamcError: No plugin offers the provider, or an option of the endpoint is wrong.
        """
        if (made := self._providers.get(candidate)) is not None:
            return made
        if candidate.endpoint is None:
            raise PoolError(f"candidate {candidate.name!r} has no endpoint: add one to the pool file (--pool), such as endpoint: {{provider: echo}}")
        with self._making:
            if candidate not in self._providers:
                self._providers[candidate] = self._make_provider(candidate.endpoint)
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
            ProviderError: The call failed. If its server may bill it but reports no usage, as after a timeout, it costs its estimated prompt.
        """
        return await self._complete(candidate, messages, decision_id, options, None)

    async def _complete(
        self, candidate: Candidate, messages: Sequence[Message], decision_id: str | None, options: Mapping[str, Any], record: RecordAttempt | None
    ) -> Completion:
        call = self.call(candidate, decision_id, record)
        call.prompt_bytes = _prompt_bytes(messages, options)
        async with call:
            given = await self.provider(candidate).complete(candidate, messages, **_parameters(candidate, options))
            answer = check_type(given, Completion, "complete must return aamc_sdk.Completion")
            call.usage, call.cost_usd = answer.usage, answer.cost_usd
        return attrs.evolve(answer, cost_usd=call.cost_usd, latency_ms=call.latency_ms, candidate=candidate.name, decision_id=decision_id or "")

    def stream(
        self, candidate: Candidate, messages: Sequence[Message], *, decision_id: str | None = None, **options: Any
    ) -> AsyncGenerator[Chunk, None]:
        """Yield a candidate's answer piece by piece; close the generator to end the call early.

        Arguments as for :meth:`complete`. The call is priced and recorded at the end. If it breaks off without usage, the cost of the part that
        came is estimated.

        Raises:
            PoolError: The candidate has no endpoint.
            ProviderError: The call failed.
        """
        return self._stream(self.call(candidate, decision_id), candidate, messages, options)

    async def _stream(self, call: Call, candidate: Candidate, messages: Sequence[Message], options: Mapping[str, Any]) -> AsyncGenerator[Chunk, None]:
        came, finished = 0, False
        call.prompt_bytes = _prompt_bytes(messages, options)
        async with call:
            chunks = self.provider(candidate).stream(candidate, messages, **_parameters(candidate, options))
            try:
                async for chunk in chunks:
                    call.note(check_type(chunk, Chunk, "stream must yield aamc_sdk.interfaces.Chunk objects"))
                    came += text_bytes([chunk.content, chunk.reasoning])
                    finished = finished or chunk.finish_reason is not None
                    yield chunk
            except BaseException as error:
                counted = call.usage.output_tokens is not None
                if not (finished and counted) and (came or counted or isinstance(error, CANCELLED)):
                    call.estimate(call.prompt_bytes, came)
                raise
            finally:
                if isinstance(chunks, AsyncGenerator):
                    await chunks.aclose()

    def call(self, candidate: Candidate, decision_id: str | None = None, record: RecordAttempt | None = None) -> Call:
        """Return the context of one call: it counts the call as in flight, measures and prices it, and records it as an attempt of the decision.

        ``record`` records the attempt; the function of :meth:`record_attempts` when None.

        Raises:
            ProviderError: The code inside raised an error that is not the SDK's own.
        """
        return Call(self.tracker, candidate, decision_id, record or self._record)

    @asynccontextmanager
    async def request_attempts(self) -> AsyncIterator[RecordAttempt]:
        """Return the function that records the attempts of one request.

        Those from a refusal on are recorded once another candidate answers or the block ends: only then is the refusal's status known.
        """
        attempts: list[Attempt] = []

        async def log(*, ended: bool) -> None:
            for attempt in settled_attempts(attempts, ended=ended):
                del attempts[0]
                if self._record is not None:
                    await self._record(attempt)

        async def record(attempt: Attempt) -> None:
            attempts.append(attempt)
            await log(ended=False)

        try:
            yield record
        finally:
            await log(ended=True)

    def present_state(self, pool: Pool, given: PoolState | None) -> PoolState:
        """Return the state of a pool for a request that will be answered: candidates that cannot be called are unavailable.

        These are candidates without an endpoint, with an open circuit breaker, or with no request left in their rate limit. If nothing
        would be left, only those without an endpoint are: the call itself then says why it fails, and when to try again. Without a ``given``
        state, that of this client's own calls counts.

        Raises:
            PoolError: No candidate has an endpoint.
        """
        state = given or self.tracker.state(pool) or _NOTHING_KNOWN
        if without := _without_endpoint(pool):
            state = attrs.evolve(state, unavailable=state.unavailable | without)
        stopped: set[str] = set()
        remaining: dict[str, float] = {}
        for candidate in pool:
            if (provider := self._providers.get(candidate)) is None:  # not called yet
                continue
            endpoint = self._state_of(candidate.name, provider)
            if not endpoint.available:
                stopped.add(candidate.name)
            elif endpoint.remaining is not None:
                remaining[candidate.name] = endpoint.remaining
        if not (stopped or remaining):
            return state
        remaining = {**remaining, **state.remaining}
        out = state.unavailable.union(stopped, (name for name, left in remaining.items() if left < 1))
        if out.issuperset(pool.names):
            return state
        return attrs.evolve(state, unavailable=state.unavailable | stopped, remaining=remaining)

    def endpoint_state(self, candidate: Candidate) -> EndpointState:
        """Return the present state of a candidate's endpoint; it counts as available if its provider fails to return it.

        Raises:
            AamcError: As for :meth:`provider`.
        """
        return self._state_of(candidate.name, self.provider(candidate))

    def unset_keys(self, candidate: Candidate) -> tuple[str, ...]:
        """Return the environment variables for API keys that a candidate's endpoint names and that are not set.

        Raises:
            AamcError: As for :meth:`provider`.
            PluginError: The provider failed to return them.
        """
        provider = self.provider(candidate)
        with component_errors(f"the provider of {candidate.name!r} failed to return its unset keys"):
            return tuple(provider.unset_keys())

    def _state_of(self, name: str, provider: Provider) -> EndpointState:
        try:
            return check_type(provider.state(), EndpointState, "state must return aamc_sdk.interfaces.EndpointState")
        except (Exception, SystemExit) as error:  # a defect of one provider must not fail the requests that others can answer
            if name not in self._without_state:
                self._without_state.add(name)
                logger.error("the provider of %r failed to return its state, so it counts as available: %s", name, error_text(error))  # noqa: TRY400  # once
            return _AVAILABLE

    async def answer(
        self,
        decision: Decision,
        pool: Pool,
        messages: Sequence[Message],
        options: Mapping[str, Any],
        on_text: Callable[[str], Awaitable[object]] | None = None,
    ) -> Completion:
        """Return the answer of a decision's candidate, or of the router's next allowed choice when a call fails.

        ``on_text`` is awaited with each piece of the answer's text as it comes; without it, the whole answer is asked for at once.

        Raises:
            ProviderError: Every allowed candidate failed, or one failed after its first text.
        """
        errors: list[ProviderError] = []
        async with self.request_attempts() as record:
            for name in decision.fallback_order:
                candidate = pool.candidates[pool.index(name)]
                came: list[str] = []
                own = copy.deepcopy(messages)  # what a provider changes in them must not reach the next one
                try:
                    if on_text is None:
                        return await self._complete(candidate, own, decision.id, options, record)
                    call = self.call(candidate, decision.id, record)
                    answer = await _collected(self._stream(call, candidate, own, options), came, on_text)
                    return attrs.evolve(answer, cost_usd=call.cost_usd, latency_ms=call.latency_ms, candidate=name, decision_id=decision.id)
                except (ProviderError, ConfigError, PluginError) as error:  # also a provider that cannot be made, as its extra is not installed
                    if came:
                        raise
                    public = f"calling {name!r} failed"
                    unmade = ProviderError(f"{public}: {error}", kind="configuration", public=public)
                    errors.append(error if isinstance(error, ProviderError) else unmade)
        nobody = "no candidate answered"
        cause = next((error for error in errors if error.kind == "unexpected"), errors[-1])  # its traceback leads to the provider's line
        raise ProviderError(failures_text(nobody, [*map(str, errors)]), public=failures_text(nobody, [error.public for error in errors])) from cause

    async def close(self) -> None:
        """Close the providers that can be closed, all at once; one that takes longer than ``CLOSE_S`` is left behind."""
        closing = {asyncio.create_task(_close(provider)): candidate.name for candidate, provider in [*self._providers.items()]}
        if closing:
            _, late = await asyncio.wait(closing, timeout=CLOSE_S)
            for task in late:
                task.cancel()
                logger.warning("the provider of %r did not close within %g s", closing[task], CLOSE_S)


async def _close(provider: Provider) -> None:
    with suppress(Exception, SystemExit):  # an error of one provider must not keep the others open, or end the loop's thread
        await provider.close()


def _without_endpoint(pool: Pool) -> frozenset[str]:
    """Return the names of the candidates that have no endpoint; a pool of such candidates is an error."""
    names = frozenset(candidate.name for candidate in pool if candidate.endpoint is None)
    if len(names) == len(pool):
        raise PoolError("no candidate of the pool has an endpoint, so none can be called; add endpoints to the pool file, or name another pool")
    return names


def _parameters(candidate: Candidate, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a request: the candidate's, and the given ones, which have priority; a limit replaces one of another name."""
    return {**without_replaced_limits(candidate.parameters, options), **options}


def _prompt_bytes(messages: Sequence[Message], options: Mapping[str, Any]) -> int:
    return text_bytes([*messages, options.get("tools")], 0)


async def _collected(chunks: AsyncGenerator[Chunk, None], came: list[str], on_text: Callable[[str], Awaitable[object]]) -> Completion:
    """Return a streamed answer; each piece of its text is added to ``came`` and shown as it comes."""
    usage, finish_reason = Usage(), "stop"
    async with aclosing(chunks):
        async for chunk in chunks:
            if chunk.content:
                came.append(chunk.content)
                await on_text(chunk.content)
            usage, finish_reason = chunk.usage or usage, chunk.finish_reason or finish_reason
    return Completion(message={"role": "assistant", "content": "".join(came)}, usage=usage, finish_reason=finish_reason)


def conversation(query: Query) -> list[Message]:
    """Return a query's turns and text as messages of OpenAI's dialect."""
    earlier: list[Message] = [{"role": turn.role, "content": turn.content} for turn in query.turns]
    return [*earlier, {"role": "user", "content": query.text}]
