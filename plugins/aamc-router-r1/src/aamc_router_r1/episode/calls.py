"""The calls of an episode, one model asked once each, within the episode's budget of USD, tokens and time."""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from aamc_router_r1.config import PolicyOptions
from aamc_router_r1.protocol import clean, truncated
from aamc_sdk.concurrency import EventLoopThread
from aamc_sdk.errors import AamcError, ProviderError, may_be_billed, public_message
from aamc_sdk.interfaces import Chunk, Completion, Message, ModelCaller, Usage
from aamc_sdk.serving import price
from aamc_sdk.types import Candidate, estimated_tokens, new_ids

BY_POLICY, BY_MODEL = "policy", "model"
OUT_OF_USD, OUT_OF_TOKENS, OUT_OF_TIME = "out_of_usd", "out_of_tokens", "out_of_time"

CONSULTED = """\
Another model consults you on a part of a larger task. Answer its question directly, or give what you know that helps to answer it.
Be concise and stay on the subject. If you cannot help, say so, and that another model should be asked.

Question: {question}
"""
"""The prompt of a consulted model."""


class EpisodeBudgetError(AamcError):
    """Raised when a call does not fit an episode's budget any more.

    Attributes:
        outcome: The outcome of the episode, such as ``OUT_OF_USD``.
    """

    def __init__(self, message: str, outcome: str) -> None:
        super().__init__(message)
        self.outcome = outcome


@attrs.frozen
class CallReservation:
    """The reserved maximum of a call: tokens that the answer may have, tokens of prompt and answer, and cost in USD."""

    answer_tokens: int
    tokens: int
    usd: float


class EpisodeBudget:
    """The limits of one episode and what it has used of them. A call reserves its maximum before it begins, so parallel calls keep the limits too.

    Attributes:
        cost_usd: The known cost so far.
        tokens: The tokens so far.
        cost_known: Whether the cost of every call is known.
    """

    def __init__(self, usd: float = math.inf, tokens: int = sys.maxsize, seconds: float = math.inf) -> None:
        self._usd, self._tokens = usd, tokens
        self._began = time.monotonic()
        self._deadline = self._began + seconds
        self._held_usd, self._held_tokens = 0.0, 0
        self.cost_usd, self.tokens, self.cost_known = 0.0, 0, True

    @property
    def seconds(self) -> float:
        """Time since the start, in seconds."""
        return time.monotonic() - self._began

    @property
    def seconds_left(self) -> float:
        """Time until the limit, in seconds; infinity without a limit."""
        return self._deadline - time.monotonic()

    def reserve(self, candidate: Candidate, prompt_tokens: int, answer_tokens: int) -> CallReservation:
        """Reserve the maximum of a call. The reservation limits the answer to fewer tokens if the budget allows no more.

        Raises:
            EpisodeBudgetError: Not even an answer of one token fits.
        """
        if self.seconds_left <= 0:
            raise EpisodeBudgetError("the time limit of the episode is over", OUT_OF_TIME)
        tokens = min(answer_tokens, self._tokens - self.tokens - self._held_tokens - prompt_tokens)
        if tokens < 1:
            raise EpisodeBudgetError(
                f"the episode may use {self._tokens:,} tokens, and a call of {candidate.name!r} does not fit any more", OUT_OF_TOKENS
            )
        usd = 0.0
        if self._usd < math.inf:
            tokens, usd = self._affordable(candidate, prompt_tokens, tokens)
        self._held_tokens += prompt_tokens + tokens
        self._held_usd += usd
        return CallReservation(tokens, prompt_tokens + tokens, usd)

    def _affordable(self, candidate: Candidate, prompt_tokens: int, tokens: int) -> tuple[int, float]:
        left = self._usd - self.cost_usd - self._held_usd
        least, most = (price(candidate, Usage(prompt_tokens=prompt_tokens, output_tokens=made))[0] for made in (1, tokens))
        if math.isnan(most):
            raise EpisodeBudgetError(
                f"{candidate.name!r} has no prices, so it cannot be called within a budget of {self._usd:g} USD; give it prices as a candidate of "
                "the pool, or leave the budget out",
                OUT_OF_USD,
            )
        if least > left:
            raise EpisodeBudgetError(f"the episode may cost {self._usd:g} USD, and a call of {candidate.name!r} does not fit any more", OUT_OF_USD)
        if most <= left:
            return tokens, most
        assert candidate.prices is not None
        tokens = 1 + int((left - least) * 1e6 / candidate.prices.output)
        return tokens, price(candidate, Usage(prompt_tokens=prompt_tokens, output_tokens=tokens))[0]

    def settle(self, reservation: CallReservation, cost_usd: float, tokens: int) -> None:
        """Replace a reservation by the call's tokens and its cost in USD; NaN if the cost is unknown."""
        self._held_tokens -= reservation.tokens
        self._held_usd -= reservation.usd
        self.tokens += tokens
        if math.isnan(cost_usd):
            self.cost_known = False
        else:
            self.cost_usd += cost_usd


@attrs.frozen(kw_only=True)
class ModelCall:
    """A finished call of an episode, successful or not.

    Attributes:
        role: ``"policy"`` for a turn of the policy, ``"model"`` for a model that it consulted.
        round: The number of the turn, from 0.
        text: The turn's text, cut at its action, or the model's reply; ``""`` if the call failed.
        question: The sub-question; ``""`` for a turn of the policy.
        cost_usd: Cost in USD; NaN if unknown. ``cost_source`` is that of :class:`aamc_sdk.types.Attempt`.
        time: When the call began, in seconds since the epoch; ``seconds`` is its duration.
        status: ``"ok"``, ``"error"`` or ``"cancelled"``.
        public_error: The error without addresses and texts of the server; None if ``error`` has none.
        failure: The error itself if the model's provider raised one of its own, or the call took too long.
        faults: The kinds of a turn's protocol errors.
        id: The id of its decision in the log.
    """

    role: str
    round: int
    candidate: str
    text: str = ""
    question: str = ""
    prompt_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = math.nan
    cost_source: str = ""
    seconds: float = 0.0
    time: float = 0.0
    status: str = "ok"
    error: str | None = None
    public_error: str | None = None
    failure: ProviderError | None = None
    faults: tuple[str, ...] = ()
    id: str = attrs.field(factory=lambda: new_ids(1)[0])

    @property
    def tokens(self) -> int:
        """Tokens of prompt and answer."""
        return self.prompt_tokens + self.output_tokens

    @property
    def shown_error(self) -> str:
        """The error for the policy and for clients of the gateway; ``""`` without one."""
        return self.public_error or self.error or ""

    @property
    def reply(self) -> str:
        """The reply of a consulted model as the policy reads it, which after a failure says so."""
        return self.text if self.status == "ok" else f"No reply of {self.candidate}: {self.shown_error}"


Answered = tuple[Completion | None, ModelCall]
"""A call's completion, None if it failed, and the call."""


class EpisodeCaller:
    """Calls models for one episode, on the event loop that the client's connections belong to, or on the running one without ``loop``.

    Attributes:
        finished: The finished calls, so that none is lost when the episode is cancelled before it has taken it over.
    """

    def __init__(self, models: ModelCaller, loop: EventLoopThread | None, budget: EpisodeBudget, seconds: float) -> None:
        self._models, self._loop, self._budget, self._seconds = models, loop, budget, seconds
        self.finished: list[ModelCall] = []

    async def ask(self, candidate: Candidate, messages: Sequence[Message], tokens: int, parameters: Mapping[str, Any], about: ModelCall) -> Answered:
        """Return the answer of a model, of at most so many tokens, and the call ``about`` with its cost; errors of the model become part of the call.

        Raises:
            EpisodeBudgetError: The call does not fit the budget.
        """
        reservation = self._budget.reserve(candidate, prompt_tokens(messages), tokens)
        options = request_options(candidate, reservation.answer_tokens, parameters)
        began, at = time.monotonic(), time.time()
        completion: Completion | None = None
        failure: dict[str, Any] = {}
        limit_s = max(0.0, min(self._seconds, self._budget.seconds_left))
        try:
            completion = await asyncio.wait_for(self._complete(candidate, messages, options), limit_s)
        except asyncio.TimeoutError:  # another class until Python 3.11
            late = f"no answer within {limit_s:.3g} s"
            failure = {"status": "cancelled", "error": late, "failure": ProviderError(late, kind="timeout")}
        except asyncio.CancelledError:
            failure = {"status": "cancelled", "error": "the episode was cancelled"}
            raise
        except AamcError as error:
            raised = error if isinstance(error, ProviderError) else None
            failure = {"status": "error", "error": str(error), "public_error": public_message(error), "failure": raised}
        except Exception as error:  # a provider's own error ends this call, never the whole episode
            failure = {"status": "error", "error": f"{type(error).__name__}: {error}", "public_error": f"model {candidate.name!r} failed"}
        finally:
            call = attrs.evolve(about, seconds=time.monotonic() - began, time=at, **failure)
            answer = _reported(call.failure) if completion is None else completion
            if answer is None and call.status == "error" and (call.failure is None or not may_be_billed(call.failure)):
                call = attrs.evolve(call, cost_usd=0.0, cost_source="estimated")
            else:
                call = _with_cost(call, candidate, answer, prompt_tokens(messages))
            self._budget.settle(reservation, call.cost_usd, call.tokens)
            self.finished.append(call)
        return completion, call

    async def _complete(self, candidate: Candidate, messages: Sequence[Message], options: Mapping[str, Any]) -> Completion:
        work = self._models.complete(candidate, messages, **options)
        return await (work if self._loop is None else asyncio.wrap_future(self._loop.submit(work)))


def lone_caller(models: ModelCaller, options: PolicyOptions) -> EpisodeCaller:
    """Return a caller outside of an episode, on the running loop, without a budget."""
    return EpisodeCaller(models, None, EpisodeBudget(), options.call_seconds)


async def consult(caller: EpisodeCaller, candidate: Candidate, question: str, options: PolicyOptions, number: int = 0) -> ModelCall:
    """Return the call of a model that is consulted in the round ``number``; an empty reply is an error, and a longer one than allowed is cut.

    Raises:
        EpisodeBudgetError: The call does not fit the budget.
    """
    about = ModelCall(role=BY_MODEL, round=number, candidate=candidate.name, question=question)
    messages = [{"role": "user", "content": CONSULTED.format(question=question)}]
    completion, made = await caller.ask(candidate, messages, options.routed_tokens, options.routed_options, about)
    if completion is None:
        return made
    text = clean(completion.text).strip()
    if not text:
        return attrs.evolve(made, status="error", error="the reply is empty")
    if made.output_tokens > options.routed_tokens:  # the server ignored the limit
        text = truncated(text, options.routed_tokens)
    return attrs.evolve(made, text=text)


def _reported(error: ProviderError | None) -> Chunk | None:
    """Return the usage and cost that a server reported with a failed answer; None if it reported neither."""
    reported = None if error is None else error.reported
    if not isinstance(reported, Chunk):
        return None
    has_usage = reported.usage is not None and reported.usage.prompt_tokens is not None
    return reported if has_usage or not math.isnan(reported.cost_usd) else None


def _with_cost(call: ModelCall, candidate: Candidate, answer: Completion | Chunk | None, prompt: int) -> ModelCall:
    """Return a call with its tokens and cost; those that its answer does not report are estimated from ``prompt`` tokens and the answer's text."""
    usage, cost = (None, math.nan) if answer is None else (answer.usage, answer.cost_usd)
    known = usage is not None and usage.prompt_tokens is not None and usage.output_tokens is not None
    if usage is None or not known:
        usage = Usage(prompt_tokens=prompt, output_tokens=estimated_tokens(answer.text if isinstance(answer, Completion) else ""))
    listed, source = price(candidate, usage)
    if math.isnan(cost):
        cost, source = listed, source if known else source and "estimated"
    elif not known or cost != listed:
        source = "reported"
    return attrs.evolve(call, prompt_tokens=usage.prompt_tokens or 0, output_tokens=usage.output_tokens or 0, cost_usd=cost, cost_source=source)


def prompt_tokens(messages: Sequence[Message]) -> int:
    """Return the estimated tokens of a conversation."""
    return sum(estimated_tokens(str(message.get("content") or "")) + 4 for message in messages)


def request_options(candidate: Candidate, tokens: int, more: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a request: the limit of tokens under the name that the candidate uses, and others that it does not set itself."""
    own = candidate.parameters
    limit = "max_completion_tokens" if "max_completion_tokens" in own else "max_tokens"
    return {limit: tokens, **{name: value for name, value in more.items() if name not in own}}
