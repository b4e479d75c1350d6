"""The processing of one request: decision, calls, cost, and their records."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import attrs
from aamc_models.dialects import has_only_server_tools, new_messages

from aamc_gateway.access.admission import Admission
from aamc_gateway.access.callers import Refused
from aamc_gateway.access.limit_claims import LimitedClaim
from aamc_gateway.access.max_cost import advice_for, claimed_tokens
from aamc_gateway.forwarding.answers.cache import CachedAnswer
from aamc_gateway.forwarding.answers.descriptions import HeaderList, description_headers, description_object
from aamc_gateway.forwarding.calls.upstreams import Prepared, Strip, Upstream, UpstreamCall
from aamc_gateway.forwarding.calls.usage import tokens_of
from aamc_gateway.forwarding.decisions.candidates import cheapest, fallbacks, find_candidates
from aamc_gateway.forwarding.decisions.stickiness import UNKNOWN, find_origin, remember_answer
from aamc_gateway.forwarding.failures import PASSING, UnservedError, unavailable, unserved, unsuitable
from aamc_gateway.forwarding.observed_request import request_figures
from aamc_gateway.requests.bodies import run_by_size
from aamc_gateway.requests.client_request import ClientRequest
from aamc_gateway.server.gateway import Gateway
from aamc_sdk import Attempt, Decision
from aamc_sdk.errors import AamcError, DataError, NoCandidateError, ProviderError
from aamc_sdk.serving import settled_attempts
from aamc_sdk.types import CHARACTERS_PER_TOKEN, Record, text_bytes

logger = logging.getLogger(__name__)


class Exchange:
    """The processing of one request.

    :meth:`decide` comes first, then :meth:`next_call` until a call has an answer, and :meth:`end` last, also after an error.

    Attributes:
        decision: The decision; set by :meth:`decide`.
        record: The decision with its inputs; set by :meth:`decide`.
        figures: What metrics and logs see.
        was_limited: Whether a budget has limited an answer, which is then not one for others.
        spent_usd: The known cost so far, of its decision and its calls.
    """

    decision: Decision
    record: Record
    _committed: asyncio.Future[Decision]

    def __init__(self, gateway: Gateway, request: ClientRequest, route: str) -> None:
        self.gateway, self.request = gateway, request
        self.figures = request_figures(request, route)
        self.was_limited = False
        self._admission: Admission | None = None
        self._origin = UNKNOWN
        self._failures: list[tuple[ProviderError, bool]] = []  # as unserved() takes them
        self._refusals: list[Refused] = []  # of candidates over their own limits, by add_refusal()
        self._unconvertible: DataError | None = None  # why the request could not be converted for the last such candidate
        self._names: Sequence[str] = ()  # the candidates that can answer the request
        self._allowed: Sequence[str] = ()  # those of them whose maximum cost fits what was reserved
        self._full: Mapping[str, LimitedClaim] = {}  # those that could answer, but have used up a limit of their own
        self.spent_usd, self._is_estimated = 0.0, False
        self._attempts: list[Attempt] = []  # of its calls, not in the log yet
        self._excused: set[str] = set()  # candidates whose refusal says nothing about them, see settled_attempts()
        self._tried = 0

    async def decide(self) -> None:
        """Admit the request and choose a candidate; its commit goes on meanwhile, unless the log's last commit failed.

        Raises:
            AamcError: The request is refused, nothing can be chosen, or the log still cannot be written.
        """
        gateway, request = self.gateway, self.request
        names, self._full = await find_candidates(gateway, request)
        self._names = self.participants(names)
        await self._admit()
        if request.foreign_state or request.turns > 1:
            self._origin = await find_origin(gateway, request, self._names)
            self._check_origin()
        try:
            decision = await self._decide()
        except NoCandidateError as error:
            if (refusal := self._refusal(error)) is None:  # a limit of the router, which says so itself
                raise
            raise refusal from error
        self.spent_usd += float(decision.notes.get("spent_usd") or 0.0)
        gateway.metrics.decisions.observe(self.figures.decision_ended - self.figures.decision_began)
        if gateway.log_watch.is_suspect:  # no candidate is paid for an answer that may not be given
            await self.commit()

    async def _admit(self) -> None:
        """Reserve the maximum cost, and keep to the candidates that fit what was reserved."""
        gateway, request, access = self.gateway, self.request, self.gateway.access
        user, tokens = request.query.user, claimed_tokens(request, gateway.settings.limits.output_tokens)
        demand = self._demand() if access.is_limited(request.caller, user) else {}
        try:
            admission = self._admission = await access.admit(request.caller, user=user, tokens=tokens, advice=advice_for(request), **demand)
        except Refused as error:
            if "minimum_cost_usd" in demand:  # not in the arena, which needs all of its candidates
                costs = {name: gateway.upstreams[name].max_cost.usd(request) for name in self._full}
                if cheaper := access.cheaper(costs, error.left_usd):
                    raise unavailable(gateway.upstreams, {name: self._full[name] for name in cheaper}) from error
            raise
        self._allowed = self._names
        if admission.budget_usd != math.inf:
            self._allowed = [name for name in self._names if admission.fits(self._max_costs[name])] or self._names

    def _demand(self) -> dict[str, Any]:
        """Return the arguments of :meth:`Access.admit` for a request whose cost is limited, from the maximum cost of each candidate's answer."""
        known = [cost for cost in self._max_costs.values() if not math.isnan(cost)]  # candidates of unknown cost fit no budget
        return {"max_cost_usd": max(known, default=math.nan), "minimum_cost_usd": min(known, default=math.nan), "costs_usd": known}

    async def admit_cached(self, answer: CachedAnswer) -> None:
        """Admit a request whose answer is in the cache, and costs nothing."""
        request, figures = self.request, self.figures
        self._admission = await self.gateway.access.admit(request.caller, max_cost_usd=0.0, user=request.query.user)
        figures.candidate, figures.cached, figures.cost_usd, figures.saved_usd = answer.candidate, True, 0.0, answer.cost_usd

    @cached_property
    def _max_costs(self) -> Mapping[str, float]:
        """The maximum cost of the answers of each candidate, in USD; most requests have no limit that asks for it."""
        return {name: self.gateway.upstreams[name].max_cost.usd(self.request) for name in self._names}

    @property
    def admission(self) -> Admission:
        """The admission of the request, once :meth:`decide` has returned."""
        assert self._admission is not None
        return self._admission

    def participants(self, names: Sequence[str]) -> Sequence[str]:
        """Return the candidates that may be called for the request, of those that can answer it."""
        return names

    def _refusal(self, error: NoCandidateError) -> Refused | None:
        """Return the refusal of a request that no candidate can answer, by the reasons of each; None without reasons."""
        later = [name for name, reasons in error.reasons.items() if reasons <= PASSING and (name in self._allowed or name in self._full)]
        if later:
            return unavailable(self.gateway.upstreams, {name: self._full.get(name) for name in later})
        return unsuitable(self.request, self._allowed, error) if error.reasons else None

    def _check_origin(self) -> None:
        """Refuse a request that one candidate alone can continue, if it may not be called: others would answer without the conversation."""
        name = self._origin.candidate
        if self._origin.movable or name is None or self.request.mode == "model" or name in self._allowed:
            return
        self.request.caller.check_model(name, self.gateway.upstreams)
        if name in self._full:
            raise unavailable(self.gateway.upstreams, {name: self._full[name]})
        why = f"the request continues an answer of {name!r}, and another one of it may cost more than the budget has left"
        raise Refused(f"{why}: send the whole conversation, so that another model can answer", status=402, kind="budget")

    async def _decide(self) -> Decision:
        """Choose the only candidate that may be chosen, or let the router choose one."""
        request, forced = self.request, self._forced()
        preferred = [forced] if forced is not None else self._native() or self._allowed
        try:
            return await self._start(preferred, forced is not None)
        except NoCandidateError:
            if preferred is self._allowed or request.mode == "model" or not self._origin.movable:
                raise
            return await self._start(self._allowed, False)  # such as a conversation that has grown beyond the window of its candidate

    async def _start(self, allowed: Sequence[str], forced: bool) -> Decision:
        """Return the router's decision among some candidates, whose commit has begun."""
        gateway, request = self.gateway, self.request
        query, last = request.query, self._origin.candidate
        if last is not None and self._origin.is_cached:
            new = text_bytes(new_messages(request.dialect, request.body)) // CHARACTERS_PER_TOKEN
            query = attrs.evolve(query, cached_on=last, cached_tokens=max(query.expected_prompt_tokens - new, 0))
        started = await gateway.decider.start(
            query,
            request.preference,
            forced=forced,
            unavailable=gateway.others(allowed),
            state=gateway.pool_state(forced=forced),
            budget_usd=None if forced else request.budget_usd,
            quality_floor=None if forced else request.quality_floor,
        )
        decision = started.record.decision
        self.record, self.decision, self._committed = started.record, decision, started.committed
        figures, now = self.figures, self.figures.now()
        figures.decision_id, figures.decision_began, figures.decision_ended = decision.id, now - started.seconds, now
        return decision

    def _forced(self) -> str | None:
        """Return the only candidate that may be chosen; None where the router chooses."""
        request = self.request
        if request.mode == "model":
            return request.model
        if self._origin.is_sticky and self._origin.candidate in self._allowed:
            return self._origin.candidate
        if request.side_request and request.preference is None and request.quality_floor is None and self._allowed:
            return cheapest(self._max_costs, self._allowed)
        return None

    def _native(self) -> list[str]:
        """Return the allowed candidates whose server has the request's API, if the answer is to be stored or all tools are the server's own."""
        request = self.request
        stores = request.dialect == "responses" and request.body.get("store") is True
        if request.mode != "route" or not (stores or has_only_server_tools(request.dialect, request.body)):
            return []
        return [name for name in self._allowed if request.dialect in self.gateway.upstreams[name].apis]

    async def next_call(self) -> UpstreamCall:
        """Return the call of the next candidate that may answer.

        Raises:
            UnservedError: No other candidate may answer.
            Refused: All candidates that may answer are over their own limits.
            DataError: The request cannot be converted for any candidate.
        """
        while (choice := self._next_choice()) is not None:
            upstream, strip = choice
            prepare = partial(upstream.prepare, self.request, strip=strip, limits_answer=self.admission.limits_cost(upstream.name))
            try:
                prepared = await run_by_size(self.request.body_bytes, prepare)
            except DataError as error:
                self._unconvertible = error.with_traceback(None)  # else a cycle, as in call_ended()
                continue
            self.was_limited |= prepared.max_tokens is not None
            try:
                return await self.begin(upstream, prepared, self.request)
            except Refused as error:
                self.add_refusal(error)
        if self._unconvertible is not None and not self.figures.calls and not self._refusals:
            raise self._unconvertible
        raise self.final_error()

    def _next_choice(self) -> tuple[Upstream, Strip] | None:
        """Return the next candidate to call, and the state of other candidates that is taken out of its request; None after the last."""
        earlier, self._tried = self._tried, self._tried + 1
        if earlier == 0:
            name = self.decision.candidate
        elif earlier <= len(self._fallbacks):
            name = self._fallbacks[earlier - 1]
        else:
            return None
        request, origin = self.request, self._origin.candidate
        moved = name != origin and (origin is not None or (bool(request.foreign_state) and request.mode != "model"))
        upstream = self.gateway.upstreams[name]
        is_native = upstream.api_of(request.api) == request.api  # a conversion leaves unsigned thinking out, and returns what the model demands
        mixed = self._origin.mixed or (is_native and "unsigned_thinking" in request.foreign_state)
        return upstream, "all" if moved else "earlier" if mixed else ""

    @cached_property
    def _fallbacks(self) -> list[str]:
        """The candidates to call after the chosen one: the one that has answered the conversation, then the best first."""
        if self.request.mode == "model" or not self._origin.movable:
            return []
        others = fallbacks(self.decision, self._max_costs, self._allowed, cheap_first=self.request.side_request)
        others.sort(key=lambda name: name != self._origin.candidate)
        return others[: self.gateway.settings.limits.fallbacks]

    async def begin(self, upstream: Upstream, prepared: Prepared, request: ClientRequest) -> UpstreamCall:
        """Return a call of a candidate for a request, with its share of the candidate's own limits reserved.

        Raises:
            Refused: The candidate is over its own limits, so another one is to answer.
        """
        held = None
        if self.gateway.settings.access.models:
            held = await self.admission.use(upstream.name, upstream.max_cost.usd(request))
        if prepared.is_altered:
            self._excused.add(upstream.name)
        block = self.gateway.models.call(upstream.candidate, self.decision.id, self._record)
        call = UpstreamCall(upstream, prepared, request, block, held, self.gateway.usage_estimator)
        call.figures.began = self.figures.now()
        self.figures.calls.append(call.figures)
        return call

    async def _record(self, attempt: Attempt) -> None:
        """Log a call; from one that refused the request on, once another one answers it or none does."""
        self._attempts.append(attempt)
        self._log_attempts(ended=False)

    def _log_attempts(self, *, ended: bool) -> None:
        if self._attempts and (settled := settled_attempts(self._attempts, ended=ended, excused=self._excused)):
            self._attempts = []
            for attempt in settled:
                self.gateway.commits.add_attempt(attempt)

    def call_ended(self, call: UpstreamCall, error: ProviderError | None = None, *, cancelled: bool = False) -> None:
        """Add a call's cost and tokens to the request's sums, and charge the candidate's own limits; a failed call without a cost was free.

        Args:
            call: The call, whose block has ended.
            error: Why it failed; None if it did not.
            cancelled: Whether it was cancelled, such as by a client that left; the part of the answer that came is charged.
        """
        figures, block = call.figures, call.block
        cost_usd, tokens, failed = block.cost_usd, tokens_of(block.usage), cancelled or error is not None
        unknown = math.isnan(cost_usd)
        self.spent_usd += 0.0 if unknown else cost_usd
        self._is_estimated |= block.cost_source == "estimated"
        figures.ended, figures.cost_usd, figures.usage = self.figures.now(), cost_usd, block.usage
        if call.held is not None:
            call.held.settle(0.0 if failed and unknown else cost_usd, tokens or (0 if failed else None))
        if error is not None:
            figures.error_kind, figures.status = error.kind, error.status
            if error.kind == "request" and call.prepared.is_altered:
                call.upstream.warn_of_refusal(call.prepared, error.status, self.decision.id)
            if error.kind == "unexpected":
                logger.error("request %s: %s", self.figures.request_id, error, exc_info=error)
            error.__traceback__ = error.__cause__ = error.__context__ = None  # their frames have this object: a cycle
            one_form = (call.prepared.request.api == "messages") == (self.request.api == "messages")  # OpenAI's dialects have the same errors
            self._failures.append((error, one_form))
            self.gateway.metrics.fallbacks.labels(call.upstream.name, error.kind).inc()
        elif cancelled:
            figures.error_kind = "cancelled"

    def call_answered(self, call: UpstreamCall) -> None:
        """End the call whose answer is that of the request."""
        self.call_ended(call)
        self.note_answer(call, self.spent_usd if not math.isnan(call.block.cost_usd) else math.nan)

    def note_answer(self, call: UpstreamCall, cost_usd: float) -> None:
        """Note the call whose answer is that of the request, and the cost of the request."""
        block = call.block
        source = "" if math.isnan(cost_usd) else "estimated" if self._is_estimated else block.cost_source
        self.figures.note_answer(call.upstream.name, block.usage, cost_usd, source)
        if block.usage.output_tokens:  # other models give no embeddings and images for these tokens
            self.figures.saved_usd = self.gateway.upstreams.maximum_usd(self.request, block.usage) - cost_usd

    def add_refusal(self, error: Refused) -> None:
        """Note that a candidate is over its own limits."""
        self._refusals.append(error.with_traceback(None))  # else a cycle, as in call_ended()

    def final_error(self) -> Refused:
        """Return the error of a request without an answer: that of its failed calls, else the refusal that passes first, 503 once a call was made."""
        refusals, self._refusals = self._refusals, []  # else a cycle, once one of them is raised
        if self._failures:
            return unserved(self._failures, refusals)
        if not refusals:
            return UnservedError("no candidate may answer this request", 503, "server")
        first = min(refusals, key=lambda error: math.inf if error.retry_after_s is None else error.retry_after_s)
        return UnservedError(str(first), 503, "unavailable", first.retry_after_s) if self.figures.calls else first

    async def commit(self) -> Decision:
        """Wait until the decision is durable, and return it as it is in the log.

        Raises:
            StoreError: The log refused it.
        """
        self.decision = await self.gateway.log_watch.wait(self._committed)
        return self.decision

    def headers(self, call: UpstreamCall | None = None) -> HeaderList:
        """Return the headers that describe the request's processing, see :func:`description_headers`."""
        return description_headers(self.decision, call)

    def document(self, prepared: Prepared) -> dict[str, Any]:
        """Return the ``aamc`` object of a stream's last event."""
        return description_object(self.decision, self.figures, prepared)

    def remember(self, upstream: Upstream, call_id: str | None = None) -> Awaitable[None]:
        """Remember the candidate that answered, for the conversation's next request; see :func:`remember_answer`."""
        return remember_answer(self.gateway, self.request, self._origin, upstream.name, call_id)

    async def note_response(self, upstream: Upstream, response_id: str | None) -> None:
        """Remember the tenant and the candidate of an answer that its server may keep, before its client knows the id."""
        if response_id is not None and self.request.body.get("store") is not False:
            await self.gateway.owners.note(self.request.caller, upstream.name, [response_id])

    async def infer_feedback(self) -> None:
        """Give the feedback that follows from the request, if any: its user has asked the same in other words, for example."""
        request = self.request
        if request.mode == "route":
            inferred = self.gateway.signals.observe(request, self.decision, time.time())
            if inferred is not None:
                try:
                    await self.gateway.commits.written()
                    await asyncio.to_thread(self.gateway.controller.feedback_batch, [inferred])
                except AamcError as error:  # the answer is sent
                    logger.warning("implicit feedback on decision %s is not in the log: %s", inferred.decision_id, error)

    def _warn_operator(self) -> None:
        """Log the candidates that failed. Not their messages, which may quote the prompt."""
        figures = self.figures
        failed = [{"candidate": call.candidate, "error": call.error_kind, "status": call.status} for call in figures.calls if call.error_kind]
        told = ", ".join(f"{call['candidate']} ({call['error']}, status {call['status'] or 'unknown'})" for call in failed)
        ids = {"request_id": figures.request_id, "decision_id": figures.decision_id}
        logger.warning("request %s, decision %s has no answer; failed: %s", *ids.values(), told, extra={"fields": {**ids, "failed": failed}})

    def end(self, status: int, error_kind: str = "") -> None:
        """Log the calls that wait for it, settle the budget, and tell metrics and logs; a second call does nothing."""
        figures = self.figures
        if figures.ended:
            return
        figures.end(status, error_kind)
        if self._failures and error_kind not in ("", "cancelled"):
            self._warn_operator()
        self._log_attempts(ended=True)
        if math.isnan(figures.cost_usd) and (error_kind or status >= 400):
            figures.cost_usd = self.spent_usd
        if self._admission is not None:
            is_known = tokens_of(figures.usage) or error_kind or not figures.calls
            tokens = sum(tokens_of(call.usage) for call in figures.calls if call.usage is not None)
            self._admission.settle(figures.cost_usd, tokens if is_known else None)
        self.gateway.observer.ended(figures)
