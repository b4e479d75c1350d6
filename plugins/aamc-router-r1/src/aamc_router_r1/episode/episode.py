"""One live episode: the policy's turns and the models that it consults, within the episode's limits."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence

import attrs

from aamc_router_r1.config import POLICY, VOTE, PolicyOptions
from aamc_router_r1.episode.calls import (
    BY_MODEL,
    BY_POLICY,
    EpisodeBudget,
    EpisodeBudgetError,
    EpisodeCaller,
    ModelCall,
    consult,
)
from aamc_router_r1.episode.dialogue import Dialogue
from aamc_router_r1.protocol import Codec, ModelNames, SubQuestion, clean
from aamc_router_r1.reward import normalize_answer
from aamc_sdk.concurrency import EventLoopThread
from aamc_sdk.interfaces import ModelCaller
from aamc_sdk.types import Candidate, new_ids

POLICY_FAILED, TRUNCATED, CANCELLED, FAILED = "policy_failed", "out_of_steps", "cancelled", "failed"


def aggregated(how: str, calls: Sequence[ModelCall], quality: Mapping[str, float]) -> str | None:
    """Return an answer from the replies of consulted models; None without a reply, or if ``how`` is ``"policy"``.

    ``vote`` takes the reply that the most calls gave, compared after normalisation; of equally many, the one whose models have the highest
    expected quality, then the latest. ``best`` takes the latest reply of the model with the highest expected quality. A model of unknown
    quality counts as 0, so with none known ``best`` is the latest reply.
    """
    replies = [call for call in calls if call.status == "ok" and call.text.strip()]
    if how == POLICY or not replies:
        return None
    votes = Counter(normalize_answer(call.text) for call in replies)
    best: dict[str, float] = {}
    for call in replies:
        key = normalize_answer(call.text)
        best[key] = max(best.get(key, 0.0), quality.get(call.candidate, 0.0))

    def rank(item: tuple[int, ModelCall]) -> tuple[float, float, int]:
        position, call = item
        key = normalize_answer(call.text)
        return (votes[key], best[key], position) if how == VOTE else (quality.get(call.candidate, 0.0), 0.0, position)

    return max(enumerate(replies), key=rank)[1].text.strip()


@attrs.frozen(kw_only=True)
class Setup:
    """The shared parts of an orchestrator's episodes; ``quality`` is each candidate's expected quality, for the aggregation."""

    options: PolicyOptions
    policy: Candidate
    names: ModelNames
    models: Mapping[str, Candidate]
    codec: Codec
    quality: Mapping[str, float] = attrs.field(factory=dict)


class Episode:
    """One episode of at most ``steps`` calls. Iterate over :meth:`play`, then read the result.

    Attributes:
        id: The id that the episode's decisions share.
        dialogue: The turns and informations.
        calls: The finished calls, in order.
        answer: The answer; None without.
        answered_by: ``"policy"``, ``"vote"`` or ``"best"``; ``""`` without an answer.
        outcome: Why it ended: ``answered``, ``no_answer``, ``malformed``, ``policy_failed``, ``out_of_usd``, ``out_of_tokens``, ``out_of_time``,
            ``out_of_steps``, ``cancelled``, or ``failed`` by an error; ``""`` while it runs.
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
        self._caller = EpisodeCaller(client, loop, budget, setup.options.call_seconds)
        self._steps = steps
        self.id = new_ids(1)[0]
        self.dialogue = Dialogue(setup.names, setup.options)
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
        except Exception:
            self._end(FAILED)
            raise
        finally:
            taken = {call.id for call in self.calls}
            self.calls += [call for call in self._caller.finished if call.id not in taken]
            if not self.outcome:
                self._end(CANCELLED)

    async def _turn(self) -> AsyncIterator[ModelCall]:
        """Take one turn of the policy, and call the models that it consults."""
        if not self._has_steps(1):
            return
        setup, dialogue = self.setup, self.dialogue
        may_route, number = dialogue.may_route, sum(call.role == BY_POLICY for call in self.calls)
        messages = setup.codec.messages(self.prompt, dialogue.transcript)
        parameters = {**setup.codec.options(setup.options.calls, may_route), **setup.options.parameters}
        about = ModelCall(role=BY_POLICY, round=number, candidate=setup.policy.name)
        completion, made = await self._caller.ask(setup.policy, messages, setup.options.turn_tokens, parameters, about)
        if completion is None:
            yield made
            late = self.budget.seconds_left <= 0
            self._end("out_of_time" if late else POLICY_FAILED, f"the policy {setup.policy.name!r}: {made.shown_error}")
            return
        turn = dialogue.take(clean(setup.codec.text(completion)), completion.usage.output_tokens)
        yield attrs.evolve(made, text=turn.text, faults=tuple(error.kind for error in turn.errors))
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
        self.dialogue.inform([call.reply for call in done])
        return [call for call in done if call.status != "refused"]

    async def _ask(self, call: SubQuestion, number: int) -> ModelCall:
        try:
            return await consult(self._caller, self.setup.models[call.model], call.question, self.setup.options, number)
        except EpisodeBudgetError as error:
            refused = f"{error}; answer with what you know"
            return ModelCall(role=BY_MODEL, round=number, candidate=call.model, question=call.question, status="refused", error=refused)

    def _end(self, outcome: str, reason: str = "") -> None:
        self.outcome, self.reason, self.seconds = outcome, reason, self.budget.seconds
        self.answer, self.answered_by = self.dialogue.answer, POLICY
        if self.answer is None:
            how = self.setup.options.aggregates_by
            self.answer, self.answered_by = aggregated(how, self.consulted, self.setup.quality), how
        if self.answer is None:
            self.answered_by = ""
