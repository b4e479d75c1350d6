"""The handler of requests for an orchestrator, ``aamc/NAME``, in the client's dialect."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing, nullcontext
from typing import Any

import attrs
from aamc_models.dialects import DIALECTS, ChatEvents, chat_completion, conversation_of, convert_answer, convert_request, wants_usage
from starlette.types import Receive, Scope, Send

from aamc_gateway.access.admission import Admission
from aamc_gateway.access.callers import Refused, refused_for_now
from aamc_gateway.access.limit_claims import Advice
from aamc_gateway.forwarding.answers.descriptions import cost_header, dropped_header, model_header
from aamc_gateway.forwarding.answers.event_sender import EventSender
from aamc_gateway.forwarding.failures import UnservedError, unserved
from aamc_gateway.forwarding.observed_request import ObservedRequest, request_figures
from aamc_gateway.requests.bodies import run_by_size
from aamc_gateway.requests.client_request import ClientRequest
from aamc_gateway.requests.routing_arguments import PREFIX
from aamc_gateway.server.gateway import Gateway
from aamc_gateway.server.http.answers import send_json
from aamc_gateway.server.settings import CONTENT, NONE, REASONING
from aamc_sdk.errors import AamcError, ProviderError
from aamc_sdk.interfaces import Step, Usage
from aamc_sdk.serving import Orchestration
from aamc_sdk.types import CHARACTERS_PER_TOKEN, Attempt, Decision, Preference, Query, Record, Turn, new_ids

_READ = frozenset(("messages", "model", "stream", "stream_options", "user"))
"""Fields of chat that have an effect."""
_ADVICE = Advice(too_long="send a shorter text", too_expensive="lower its budget_usd, or ask a model")


async def serve_orchestrator(gateway: Gateway, request: ClientRequest, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request by an orchestrator; its budget is reserved."""
    if request.api not in DIALECTS:
        raise Refused(f"{request.model} answers conversations only; use /v1/chat/completions")
    if request.has_media:
        raise Refused(f"{request.model} reads text only; leave out images and files, or ask a model")
    if gateway.log_watch.is_away():
        raise refused_for_now("the decision log cannot be written now")
    dropped = await run_by_size(request.body_bytes, lambda: _unread_fields(request))
    work = Work(gateway, request, send, scope["route"], dropped)
    await work.admit()
    with ObservedRequest(gateway, work, scope, receive), work.sender if request.stream else nullcontext():
        try:
            await work.run()
        except AamcError as error:
            if not work.sender.has_begun:
                raise
            await work.sender.fail(error, work)


class Work:
    """One request that an orchestrator answers.

    Attributes:
        figures: What metrics see of it.
        sender: Sends the answer where it is streamed.
    """

    _admission: Admission
    _limit_usd: float

    def __init__(self, gateway: Gateway, request: ClientRequest, send: Send, route: str, dropped: Sequence[str]) -> None:
        self._gateway, self._request, self._send, self._dropped = gateway, request, send, dropped
        self._orchestrator = gateway.orchestrators[request.model[len(PREFIX) :]]
        self.sender = EventSender(send, request.dialect, gateway.settings.streams.keep_alive_s, gateway.metrics.stream_event)
        self.sender.headers = [model_header(request.model), *([dropped_header(dropped)] if dropped else [])]
        self.figures = request_figures(request, route)
        self._spent_usd, self._tokens, self._prompt_tokens, self._has_role = 0.0, 0, 0, False

    async def admit(self) -> None:
        """Reserve the orchestrator's budget, or the smaller one that the request gives."""
        request, limit_usd = self._request, self._orchestrator.settings.budget_usd
        limit_usd = limit_usd if request.budget_usd is None else min(limit_usd, request.budget_usd)
        tokens, user, admit = request.prompt_tokens(CHARACTERS_PER_TOKEN), request.query.user, self._gateway.access.admit
        self._admission = await admit(request.caller, max_cost_usd=limit_usd, tokens=tokens, user=user, advice=_ADVICE)
        self._limit_usd = min(limit_usd, self._admission.budget_usd)

    async def run(self) -> None:
        """Work, and send the answer."""
        request, how = self._request, self._orchestrator.settings.show_steps
        events = ChatEvents(request.dialect, request.model, shows_usage=wants_usage(request.body)) if request.stream else None
        shown = ""
        waiting: Step | None = None
        orchestration: Orchestration | None = None
        async with aclosing(self._orchestrator.run(self._query(), self._limit_usd, self._log, self.figures.request_id)) as found:
            async for step in found:
                if isinstance(step, Orchestration):
                    orchestration = step
                    continue
                self._spent_usd, self._tokens = self._spent_usd + step.cost_usd, self._tokens + step.tokens
                self._prompt_tokens += step.prompt_tokens
                if waiting is not None:
                    text = _described(waiting)
                    shown += text
                    if events is not None and how != NONE:
                        await self._write(events, {"reasoning_content" if how == REASONING else "content": text})
                waiting = step
        await self._answer(orchestration, shown, events)

    async def _write(self, events: ChatEvents, delta: Mapping[str, str]) -> None:
        """Send a part of a streamed answer; the first one has the role."""
        await self.sender.write(events.delta(delta if self._has_role else {"role": "assistant", **delta}))
        self._has_role = True

    async def _answer(self, orchestration: Orchestration | None, shown: str, events: ChatEvents | None) -> None:
        request, how = self._request, self._orchestrator.settings.show_steps
        if orchestration is None or orchestration.answer is None:
            stop = "no step" if orchestration is None else orchestration.ending()
            name = f"the orchestrator {self._orchestrator.name!r}"
            if orchestration is not None and _is_out_of_usd(orchestration):
                why = f"budget_usd {self._limit_usd:g} covers no answer of {name} ({stop}); raise it, or name a model"
                raise Refused(why, status=402, kind="budget")
            if orchestration is not None and orchestration.failure is not None:
                failed = unserved([(orchestration.failure, False)])
                raise UnservedError(f"{name} gave no answer ({stop})", failed.status, failed.kind, failed.retry_after_s)
            is_late = orchestration is not None and orchestration.stop in ("out_of_time", "out_of_budget")
            raise ProviderError(f"{name} gave no answer ({stop}); change the question, or ask a model", kind="timeout" if is_late else "server")
        headers = [*self.sender.headers, *cost_header(self._spent_usd)]
        document: dict[str, Any] = {"model": request.model, "cost_usd": self._spent_usd, "steps": orchestration.count, "stop": orchestration.stop}
        if decision_id := self.figures.decision_id:
            document["decision_id"] = decision_id
            headers.insert(0, (b"x-aamc-decision-id", decision_id.encode()))
        given = self._prompt_tokens
        usage = {"prompt_tokens": given, "completion_tokens": self._tokens - given, "total_tokens": self._tokens}
        if self._dropped:
            document["dropped"] = self._dropped
        if events is not None:
            await self._write(events, {"content": orchestration.answer})
            await self.sender.end(events.end(["stop"], usage, document))
        else:
            text = shown + orchestration.answer if how == CONTENT else orchestration.answer
            answer = chat_completion(request.model, text, shown if how == REASONING else "", usage)
            await send_json(self._send, convert_answer("chat", request.dialect, answer, request.model), headers=headers)
        self.end(200)

    async def _log(self, orchestration: Orchestration) -> None:
        """Log the decisions of an orchestration and the calls made for them."""
        controller, request = self._gateway.controller, self._request
        self._spent_usd = orchestration.cost_usd  # that of a step which ended after the client had left, too

        def write() -> None:
            preference = request.preference or controller.preference
            latency_ms = 1000 * (self.figures.now() - self.figures.began)
            records, attempts = entries_of(orchestration, request.model, request.query, preference, latency_ms)
            if records:
                controller.store.add_decisions(records)
                controller.store.add_attempts(attempts)
                self.figures.decision_id = records[-1].decision.id

        await self._gateway.log_watch.wait(asyncio.ensure_future(asyncio.to_thread(write)))

    def _query(self) -> Query:
        """Return the task: the last human message, and all before it, uncut."""
        human = conversation_of(self._request.dialect, self._request.body).human
        if not human or not human[-1].strip():
            raise Refused(f"{self._request.model} needs a task, and the request has no human message")
        return attrs.evolve(self._request.query, text=human[-1], turns=tuple(Turn("user", text) for text in human[:-1]))

    def end(self, status: int, error_kind: str = "") -> None:
        """Settle the budget and tell metrics and logs; a second call does nothing."""
        figures = self.figures
        if figures.ended:
            return
        figures.end(status, error_kind)
        usage = Usage(prompt_tokens=self._prompt_tokens, output_tokens=self._tokens - self._prompt_tokens)
        figures.note_answer(self._request.model, usage, self._spent_usd, "reported")
        self._admission.settle(self._spent_usd, self._tokens)
        self._gateway.observer.ended(figures)


def _unread_fields(request: ClientRequest) -> list[str]:
    """Return the fields of a request that have no effect on an orchestrator's answer, in the words of chat.

    Raises:
        DataError: The request has words that chat cannot express, such as several prompts.
    """
    converted = convert_request(request.dialect, "chat", request.body)
    roles = {message.get("role") for message in converted.body["messages"]}
    unread = {name for name, value in converted.body.items() if name not in _READ and value not in (None, [], {})}
    return sorted({*converted.dropped, *unread, *({"system"} if roles & {"system", "developer"} else ())})


def _is_out_of_usd(orchestration: Orchestration) -> bool:
    """Return whether an orchestration ended because of its cost; ``out_of_budget`` may mean its time, too."""
    return orchestration.stop == "out_of_usd" or (orchestration.stop == "out_of_budget" and orchestration.cost_usd >= orchestration.budget.cost_usd)


def _described(step: Step) -> str:
    agent = "" if step.decision is None else f"{step.decision.candidate}: "
    return f"{agent}{step.content}\n\n"


def entries_of(
    orchestration: Orchestration, name: str, query: Query, preference: Preference, latency_ms: float
) -> tuple[Sequence[Record], Sequence[Attempt]]:
    """Return the decisions and calls of an orchestration.

    Decisions have the user and tenant of the request, so its key can send feedback on them and forgetting the user erases them.

    If the orchestrator drew nothing, as one without a trained policy, there is one decision for the orchestrator itself, without the task: its cost
    is in the log, and it can get feedback.
    """
    records, attempts = orchestration.log()
    if records or not orchestration.count:
        return [attrs.evolve(record, query=attrs.evolve(record.query, user=query.user, tenant=query.tenant)) for record in records], attempts
    decision = Decision(new_ids(1)[0], name, math.nan, preference, router=name, time=time.time(), notes={"steps": orchestration.count})
    record = Record.of_step(decision, Query("", user=query.user, tenant=query.tenant), [name])
    error = None if orchestration.answer is not None else f"no answer: {orchestration.ending()}"
    return [record], [Attempt(decision.id, n=0, cost_usd=orchestration.cost_usd, latency_ms=latency_ms, error=error, cost_source="reported")]
