"""One call of a candidate: measured, priced and recorded as an attempt."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import attrs

from aamc_sdk.concurrency import is_cancelled
from aamc_sdk.errors import AamcError, ProviderError, may_be_billed
from aamc_sdk.interfaces import Chunk, Usage
from aamc_sdk.messages import error_text
from aamc_sdk.serving.models.calls_in_flight import PoolTracker
from aamc_sdk.types import Attempt, Candidate, estimated_tokens

_COUNTED: ContextVar[tuple[list[float], ...]] = ContextVar("counted_calls", default=())
"""The lists of the blocks of :func:`counted_calls` around a call."""
_COUNTING = threading.Lock()
RecordAttempt = Callable[[Attempt], Awaitable[object]]
CANCELLED = (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt)
"""The exceptions that cancel a call."""
_STATUSES = {"request": "refused", "cancelled": "cancelled"}
"""The statuses of attempts by the kind of their error; ``"error"`` for the others."""
_NO_USAGE = Usage()


class Call:
    """One call of a candidate: an asynchronous context manager, see :meth:`ModelClient.call`.

    Attributes:
        usage: The tokens of the call; set inside the block.
        cost_usd: The provider's own figure, set inside the block; without one, list prices times usage once the block has ended. NaN if unknown.
        cost_source: The origin of the cost, see :class:`aamc_sdk.Attempt`; ``"estimated"`` may be set inside the block.
        latency_ms: Time from the start to the end of the block.
        first_token_ms: Time until :meth:`first_token` was called; NaN without.
        prompt_bytes: The bytes of the prompt, set before the block: a failed call costs them if its server may bill it but reports nothing. None if
            the block estimates by itself.
    """

    def __init__(self, tracker: PoolTracker, candidate: Candidate, decision_id: str | None, record: RecordAttempt | None) -> None:
        self._tracker = tracker
        self._candidate, self._decision_id, self._record = candidate, decision_id, record
        self._began = 0.0
        self.usage = _NO_USAGE
        self.cost_usd = self.latency_ms = self.first_token_ms = math.nan
        self.cost_source = ""
        self.prompt_bytes: int | None = None
        self._counted: Sequence[tuple[list[float], int]] = ()

    def first_token(self) -> None:
        """Note that the first token has come."""
        if math.isnan(self.first_token_ms):
            self.first_token_ms = _milliseconds(self._began)

    def note(self, chunk: Chunk) -> None:
        """Note a piece of a streamed answer: its first token, its usage and its cost."""
        if chunk.content:
            self.first_token()
        self.usage = chunk.usage or self.usage
        if not math.isnan(chunk.cost_usd):
            self.cost_usd = chunk.cost_usd

    def estimate(self, prompt_bytes: int, answer_bytes: int) -> None:
        """Estimate the tokens of a call that broke off, those of its answer beyond the reported ones, and mark the cost as estimated."""
        prompt, output = self.usage.prompt_tokens, max(self.usage.output_tokens or 0, estimated_tokens(answer_bytes))
        self.usage = attrs.evolve(self.usage, prompt_tokens=estimated_tokens(prompt_bytes) if prompt is None else prompt, output_tokens=output)
        self.cost_source = "estimated"

    async def __aenter__(self) -> Call:
        """Begin the call."""
        self._began = time.monotonic()
        self._tracker.begin(self, self._candidate)
        if self.prompt_bytes is not None:
            self._count(price(self._candidate, Usage(prompt_tokens=estimated_tokens(self.prompt_bytes), output_tokens=0))[0])
        return self

    def _count(self, cost_usd: float) -> None:
        """Set the cost of this call in the lists of :func:`counted_calls`; NaN if it is unknown."""
        with _COUNTING:
            if not self._counted and not math.isnan(cost_usd):
                lists = _COUNTED.get()
                self._counted = [(costs, len(costs)) for costs in lists]
                for costs in lists:
                    costs.append(cost_usd)
            for costs, place in self._counted:
                costs[place] = 0.0 if math.isnan(cost_usd) else cost_usd

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        """End the call and record it; tokens used before an error are priced too."""
        self._tracker.end(self)
        self.latency_ms = _milliseconds(self._began)
        if isinstance(error, ProviderError) and error.reported is not None:
            self.note(error.reported)
        is_assumed = may_be_billed(error) if isinstance(error, ProviderError) else isinstance(error, CANCELLED)
        if is_assumed and self.prompt_bytes is not None and math.isnan(self.cost_usd) and self.usage.prompt_tokens is None:
            self.estimate(self.prompt_bytes, 0)
        if not math.isnan(self.cost_usd):
            self.cost_source = self.cost_source or "reported"
        else:
            self.cost_usd, source = price(self._candidate, self.usage)
            self.cost_source = self.cost_source if source and self.cost_source else source
        self._count(self.cost_usd)
        status, message = "ok", None
        failed = isinstance(error, Exception | SystemExit) or (isinstance(error, asyncio.CancelledError) and not is_cancelled())
        if error is not None and failed:
            status = _STATUSES.get(error.kind, "error") if isinstance(error, ProviderError) else "error"
            message = str(error) if isinstance(error, AamcError) else error_text(error)
        elif isinstance(error, CANCELLED):
            status, message = "cancelled", "the caller cancelled the call"
        if self._decision_id is not None and self._record is not None:
            await self._record(self._attempt(self._decision_id, status, message))
        if error is not None and failed and not isinstance(error, AamcError):
            public = f"calling {self._candidate.name!r} failed"
            raise ProviderError(f"{public}: {error_text(error)}", kind="unexpected", public=public) from error

    def _attempt(self, decision_id: str, status: str, error: str | None) -> Attempt:
        usage = self.usage
        return Attempt(
            decision_id,
            candidate=self._candidate.name,
            cost_usd=self.cost_usd,
            cost_source=self.cost_source,
            latency_ms=self.latency_ms,
            first_token_ms=self.first_token_ms,
            prompt_tokens=usage.prompt_tokens,
            cached_tokens=usage.cached_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            output_tokens=usage.output_tokens,
            status=status,
            error=error,
        )


@contextmanager
def counted_calls(costs: list[float]) -> Iterator[None]:
    """Append to a list the known cost in USD of each call that is made in the block, or in a task that it starts.

    A call of :class:`ModelClient` counts its estimated prompt while it runs, so one that is left behind is counted too.
    """
    token = _COUNTED.set((*_COUNTED.get(), costs))
    try:
        yield
    finally:
        _COUNTED.reset(token)


def settled_attempts(attempts: Sequence[Attempt], *, ended: bool, excused: Collection[str] = ()) -> Sequence[Attempt]:
    """Return the attempts of a request whose statuses are final: all, or none while another candidate may still answer a refused request.

    A refusal counts as an error if another candidate answered the request, except for the candidates in ``excused``, whose request lost a part.
    """
    statuses = {attempt.status for attempt in attempts}
    if "ok" in statuses:
        wrong = [attempt.status == "refused" and attempt.candidate not in excused for attempt in attempts]
        return [attrs.evolve(attempt, status="error") if is_wrong else attempt for attempt, is_wrong in zip(attempts, wrong, strict=True)]
    return () if "refused" in statuses and not ended else tuple(attempts)


def price(candidate: Candidate, usage: Usage) -> tuple[float, str]:
    """Return the cost in USD by list prices, and its source: ``"priced"``, or ``"estimated"`` for a call at other prices.

    NaN and ``""`` where prices or tokens are unknown.
    """
    prices = candidate.prices
    if prices is None or usage.prompt_tokens is None or usage.output_tokens is None:
        return math.nan, ""
    cached = min(usage.cached_tokens or 0, usage.prompt_tokens)  # a provider may count wrong; the cost is never negative
    written, for_an_hour = min(usage.cache_write_tokens or 0, usage.prompt_tokens - cached), usage.cache_write_1h_tokens or 0
    cost_usd = prices.cost_usd(usage.prompt_tokens, usage.output_tokens, cached, written, min(for_an_hour, written))
    return cost_usd, "priced" if usage.at_list_prices else "estimated"


def _milliseconds(since: float) -> float:
    return 1000 * (time.monotonic() - since)
