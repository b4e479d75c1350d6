"""One live episode: the policy's turns and the models that it consults, within the episode's limits."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Any

import attrs

from aamc_router_r1.episode.aggregation import POLICY, aggregated
from aamc_router_r1.episode.calls import BY_MODEL, BY_POLICY, EpisodeCaller, ModelCall, prompt_tokens, request_options
from aamc_router_r1.episode.dialogue import Dialogue, DialogueLimits
from aamc_router_r1.episode.episode_budget import EpisodeBudget, EpisodeBudgetError
from aamc_router_r1.protocol import Codec, ModelNames, SubQuestion, clean, truncated
from aamc_sdk.interfaces import EventLoopThread, Message, ModelCaller
from aamc_sdk.types import Candidate, new_ids

POLICY_FAILED, TRUNCATED, CANCELLED = "policy_failed", "out_of_steps", "cancelled"
CONSULTED = """\
Another model consults you on a part of a larger task. Answer its question directly, or give what you know that helps to answer it.
Be concise and stay on the subject. If you cannot help, say so, and that another model should be asked.

Question: {question}
"""
"""The prompt of a consulted model."""


@attrs.frozen(kw_only=True)
class Setup:
    """The shared parts of an orchestrator's episodes.

    Attributes:
        policy: The candidate that acts as the policy.
        names: The models that may be consulted.
        models: Those models, by name.
        codec: The form of the actions.
        limits: Limits of the turns.
        policy_options: Parameters of the policy's requests.
        routed_options: Parameters of the consulted models' requests.
        call_seconds: Time limit of one call.
        aggregation: How an answer is found where the policy gives none.
        quality: Expected quality by candidate, for the aggregation.
    """

    policy: Candidate
    names: ModelNames
    models: Mapping[str, Candidate]
    codec: Codec
    limits: DialogueLimits
    policy_options: Mapping[str, Any] = attrs.field(factory=dict)
    routed_options: Mapping[str, Any] = attrs.field(factory=dict)
    call_seconds: float = 120.0
    aggregation: str = POLICY
    quality: Mapping[str, float] = attrs.field(factory=dict)


class Episode:
    """One episode. Iterate over :meth:`play`, then read the result.

    Args:
        setup: The shared parts.
        question: The question.
        prompt: The policy's prompt.
        budget: Its limits of cost, tokens and time.
        client: The client for models.
        loop: The event loop that the client's connections belong to; None to call on the running loop.
        steps: Maximum number of calls.

    Attributes:
        id: The id that the episode's decisions share.
        dialogue: The turns and informations.
        calls: The finished calls, in order.
        answer: The answer; None without.
        answered_by: ``"policy"``, ``"vote"`` or ``"best"``; ``""`` without an answer.
        outcome: Why it ended: ``answered``, ``no_answer``, ``malformed``, ``policy_failed``, ``out_of_usd``, ``out_of_tokens``, ``out_of_time``,
            ``out_of_steps`` or ``cancelled``; ``""`` while it runs.
        reason: The end in words, where the outcome does not say all; ``""`` otherwise.
    """

    def __init__(
        self,
        setup: Setup,
        question: str,
        prompt: str,
        budget: EpisodeBudget,
        client: ModelCaller,
        loop: EventLoopThread | None = None,
        *,
        steps: float = math.inf,
    ) -> None:
        self.setup, self.question, self.prompt, self.budget = setup, question, prompt, budget
        self._caller = EpisodeCaller(client, loop, budget, setup.call_seconds)
        self._steps = steps
        self.id = new_ids(1)[0]
        self.dialogue = Dialogue(setup.names, setup.limits)
        self.calls: list[ModelCall] = []
        self.answer: str | None = None
        self.answered_by = self.outcome = self.reason = ""
        self.seconds = 0.0

    @property
    def cost_usd(self) -> float:
        """The known cost of all calls in USD."""
        return self.budget.cost_usd

    @property
    def malformed(self) -> bool:
        """Whether the transcript breaks the protocol's form."""
        return bool(self.dialogue.format_errors)

    @property
    def consulted(self) -> list[ModelCall]:
        """The calls of consulted models."""
        return [call for call in self.calls if call.role == BY_MODEL]

    async def play(self) -> AsyncGenerator[ModelCall, None]:
        """Play the episode, yielding each call as it is done."""
        try:
            while not self.outcome:
                try:
                    async for call in self._turn():
                        self.calls.append(call)
                        yield call
                except EpisodeBudgetError as error:
                    self._end(error.outcome, str(error))
        finally:
            self.calls += self._caller.pending
            if not self.outcome:
                self._end(CANCELLED)

    async def _turn(self) -> AsyncIterator[ModelCall]:
        """Take one turn of the policy, and call the models that it consults."""
        if not self._has_steps(1):
            return
        setup, dialogue = self.setup, self.dialogue
        may_route, number = dialogue.may_route, sum(call.role == BY_POLICY for call in self.calls)
        messages = setup.codec.messages(self.prompt, dialogue.transcript)
        reservation = self.budget.reserve(setup.policy, prompt_tokens(messages), setup.limits.turn_tokens)
        more = {**setup.codec.options(setup.limits.calls, may_route), **setup.policy_options}
        options = request_options(setup.policy, reservation.answer_tokens, more)
        about = ModelCall(role=BY_POLICY, round=number, candidate=setup.policy.name)
        answered = await self._caller.ask(setup.policy, messages, reservation, options, about)
        self._caller.pending.clear()
        if answered.completion is None:
            yield answered.call
            late = self.budget.seconds_left <= 0
            self._end("out_of_time" if late else POLICY_FAILED, f"the policy {setup.policy.name!r}: {answered.call.shown_error}")
            return
        turn = dialogue.take(clean(setup.codec.text(answered.completion)), answered.completion.usage.output_tokens)
        yield attrs.evolve(answered.call, text=turn.text, faults=tuple(error.kind for error in turn.errors))
        if dialogue.done:
            blocked = turn.blocked
            self._end(dialogue.outcome, "" if blocked is None else str(blocked))
        elif turn.calls and self._has_steps(len(turn.calls)):
            for call in await self._consult(turn.calls, number):
                yield call

    def _has_steps(self, calls: int) -> bool:
        """Return whether so many further calls are within the limit of steps; end the episode if they are not."""
        if len(self.calls) + calls > self._steps:
            self._end(TRUNCATED, f"the limit of steps of the episode is {self._steps:g}")
        return not self.outcome

    async def _consult(self, calls: Sequence[SubQuestion], number: int) -> list[ModelCall]:
        """Call the models of one turn in parallel and give the policy their replies; a call beyond the budget gets a reply that says so."""
        done = await asyncio.gather(*(self._ask(call, number) for call in calls))
        self._caller.pending.clear()
        self.dialogue.inform([call.text if call.status == "ok" else f"No reply of {call.candidate}: {call.shown_error}" for call in done])
        return [call for call in done if call.status != "refused"]

    async def _ask(self, call: SubQuestion, number: int) -> ModelCall:
        setup = self.setup
        candidate = setup.models[call.model]
        messages: list[Message] = [{"role": "user", "content": CONSULTED.format(question=call.question)}]
        about = ModelCall(role=BY_MODEL, round=number, candidate=call.model, question=call.question)
        try:
            reservation = self.budget.reserve(candidate, prompt_tokens(messages), setup.limits.routed_tokens)
        except EpisodeBudgetError as error:
            return attrs.evolve(about, status="refused", error=f"{error}; answer with what you know")
        options = request_options(candidate, reservation.answer_tokens, setup.routed_options)
        answered = await self._caller.ask(candidate, messages, reservation, options, about)
        text = "" if answered.completion is None else clean(answered.completion.text).strip()
        if answered.call.output_tokens > setup.limits.routed_tokens:  # the server ignored the limit
            text = truncated(text, setup.limits.routed_tokens, setup.limits.count)
        if answered.completion is not None and not text:
            return attrs.evolve(answered.call, status="error", error="the reply is empty")
        return attrs.evolve(answered.call, text=text)

    def _end(self, outcome: str, reason: str = "") -> None:
        self.outcome, self.reason, self.seconds = outcome, reason, self.budget.seconds
        self.answer, self.answered_by = self.dialogue.answer, POLICY
        if self.answer is None:
            self.answer, self.answered_by = aggregated(self.setup.aggregation, self.consulted, self.setup.quality), self.setup.aggregation
        if self.answer is None:
            self.answered_by = ""
