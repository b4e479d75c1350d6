"""The calls of an episode: one model asked once, within the episode's budget."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from aamc_router_r1.episode.episode_budget import CallReservation, EpisodeBudget
from aamc_router_r1.protocol import clean as clean  # of the same package's single decisions too
from aamc_sdk.errors import AamcError, public_message
from aamc_sdk.interfaces import Completion, EventLoopThread, Message, ModelCaller, Usage
from aamc_sdk.serving import price
from aamc_sdk.types import Candidate, ModelSpec, estimated_tokens, new_ids

BY_POLICY, BY_MODEL = "policy", "model"


@attrs.frozen(kw_only=True)
class ModelCall:
    """A finished call of an episode, successful or not.

    Attributes:
        role: ``"policy"`` for a turn of the policy, ``"model"`` for a model that it consulted.
        round: The number of the turn, from 0.
        candidate: The candidate that was called.
        text: The turn's text, cut at its action, or the model's reply; ``""`` if the call failed.
        question: The sub-question; ``""`` for a turn of the policy.
        prompt_tokens: Tokens of the prompt.
        output_tokens: Tokens of the answer.
        cost_usd: Cost in USD; NaN if unknown.
        cost_source: The origin of the cost, see :class:`aamc_sdk.types.Attempt`.
        seconds: Time until the answer.
        time: When the call began, in seconds since the epoch.
        status: ``"ok"``, ``"error"`` or ``"cancelled"``.
        error: What went wrong; None without an error.
        public_error: The error without addresses and texts of the server; None if ``error`` has none.
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


@attrs.frozen
class AnsweredCall:
    """A call's completion, None if it failed, and the call."""

    completion: Completion | None
    call: ModelCall


class EpisodeCaller:
    """Calls models for one episode.

    Args:
        models: The client.
        loop: The event loop that the client's connections belong to; None to call on the running loop.
        budget: The episode's limits of cost, tokens and time.
        seconds: Time limit of one call.

    Attributes:
        pending: Finished calls that the episode has not taken over yet, so that none is lost when it is cancelled; it clears the list.
    """

    def __init__(self, models: ModelCaller, loop: EventLoopThread | None, budget: EpisodeBudget, seconds: float) -> None:
        self._models, self._loop, self._budget, self._seconds = models, loop, budget, seconds
        self.pending: list[ModelCall] = []

    async def ask(
        self, candidate: Candidate, messages: Sequence[Message], reservation: CallReservation, options: Mapping[str, Any], about: ModelCall
    ) -> AnsweredCall:
        """Return the answer of a model, with the call's cost; errors of the model become part of the call.

        Args:
            candidate: The candidate to call.
            messages: The conversation.
            reservation: The call's reservation, which is settled.
            options: Parameters of the request.
            about: The call so far.
        """
        began, at = time.monotonic(), time.time()
        completion: Completion | None = None
        failure: dict[str, Any] = {}
        limit_s = max(0.0, min(self._seconds, self._budget.seconds_left))
        try:
            completion = await asyncio.wait_for(self._complete(candidate, messages, options), limit_s)
        except asyncio.TimeoutError:  # another class until Python 3.11
            failure = {"status": "cancelled", "error": f"no answer within {limit_s:.3g} s"}
        except asyncio.CancelledError:
            failure = {"status": "cancelled", "error": "the episode was cancelled"}
            raise
        except AamcError as error:
            failure = {"status": "error", "error": str(error), "public_error": public_message(error)}
        except Exception as error:  # a provider's own error ends this call, never the whole episode
            failure = {"status": "error", "error": f"{type(error).__name__}: {error}", "public_error": f"model {candidate.name!r} failed"}
        finally:
            call = attrs.evolve(about, seconds=time.monotonic() - began, time=at, **failure)
            call = _with_cost(call, candidate, completion, prompt_tokens(messages))
            self._budget.settle(reservation, 0.0 if call.status == "error" else call.cost_usd, call.tokens)
            self.pending.append(call)
        return AnsweredCall(completion, call)

    async def _complete(self, candidate: Candidate, messages: Sequence[Message], options: Mapping[str, Any]) -> Completion:
        work = self._models.complete(candidate, messages, **options)
        return await (work if self._loop is None else asyncio.wrap_future(self._loop.submit(work)))


def _with_cost(call: ModelCall, candidate: Candidate, completion: Completion | None, prompt: int) -> ModelCall:
    """Return a call with its tokens and cost; those that its answer does not report are estimated from ``prompt`` tokens and the answer's text."""
    usage, cost, source = Usage(), math.nan, ""
    if completion is not None:
        usage, cost = completion.usage, completion.cost_usd
    elif call.status == "cancelled":
        usage = Usage(prompt_tokens=prompt, output_tokens=0)  # the server may bill the prompt
    known = completion is not None and usage.prompt_tokens is not None and usage.output_tokens is not None
    if not math.isnan(cost):
        source = "priced" if cost == price(candidate, usage)[0] else "reported"
    if completion is not None and not known:
        usage = Usage(prompt_tokens=prompt, output_tokens=estimated_tokens(completion.text))
    if math.isnan(cost):
        cost, priced = price(candidate, usage)
        source = priced and ("priced" if known else "estimated")
    return attrs.evolve(call, prompt_tokens=usage.prompt_tokens or 0, output_tokens=usage.output_tokens or 0, cost_usd=cost, cost_source=source)


def prompt_tokens(messages: Sequence[Message]) -> int:
    """Return the estimated tokens of a conversation."""
    return sum(estimated_tokens(str(message.get("content") or "")) + 4 for message in messages)


def request_options(candidate: Candidate, tokens: int, more: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a request: the limit of tokens under the name that the candidate uses, and others that it does not set itself."""
    own = candidate.parameters if isinstance(candidate, ModelSpec) else {}
    limit = "max_completion_tokens" if "max_completion_tokens" in own else "max_tokens"
    return {limit: tokens, **{name: value for name, value in more.items() if name not in own}}
