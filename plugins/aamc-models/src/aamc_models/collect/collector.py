"""Asks every model every prompt, within a budget and limits, and judges the answers."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import attrs

from aamc_models.collect.budget import CollectionBudget, ReservedBudget
from aamc_models.collect.judges.model_judge import comparison
from aamc_models.collect.ledger import ANSWER, BEGUN, VERDICT, CallLedger, LedgerEntry
from aamc_models.collect.plan import Collection
from aamc_models.collect.prompts import Prompt
from aamc_models.transport.retries import repeats_need
from aamc_sdk.errors import ProviderError, may_be_billed
from aamc_sdk.interfaces import NoProgress, Progress
from aamc_sdk.serving import ModelClient
from aamc_sdk.types import Attempt, ModelSpec

MAX_FAILURES = 5
"""Failed calls in a row after which a model is not called any more."""
MAX_PAUSES = 5
"""Pauses of one call that its server, or the endpoint's own limit, wants; a failure after that counts."""
MAX_PAUSE_S = 60.0
"""Maximum length of a pause in seconds."""
SLOW_CALL_S = 30.0
"""Time in seconds after which a call without an answer is reported."""
_HOPELESS = ("authentication", "configuration")
_PASSING = ("rate_limit", "server")
"""The kinds of errors that pass with time."""
_OF_ATTEMPT = (
    *("candidate", "status", "error", "cost_usd", "cost_source", "latency_ms"),
    *("prompt_tokens", "cached_tokens", "output_tokens", "reasoning_tokens"),
)
"""The fields of an attempt that a ledger's entry has too."""


class Collector:
    """Works through prompts. Answers that the ledger has are not asked for again.

    Attributes:
        answers: The answers, by prompt and candidate.
        qualities: Their qualities, by prompt and candidate; None where the judge does not know it.
        failed: The number of failed calls, by model.
        errors: The error of each model's last failed call; the last call is last.
        given_up: The last error of each model that is not called any more.
        stopped: Why it stopped before the end; ``""`` if it did not.
        budget: The budget.
    """

    def __init__(self, plan: Collection, models: ModelClient, ledger: CallLedger) -> None:
        self.plan, self.models, self.ledger = plan, models, ledger
        self.answers: dict[str, dict[str, LedgerEntry]] = {}
        self.qualities: dict[str, Mapping[str, float | None]] = {}
        self.failed: Counter[str] = Counter()
        self.errors: dict[str, str] = {}
        self.given_up: dict[str, str] = {}
        self.stopped = ""
        self.budget = CollectionBudget(plan.budget_usd, sum(entry.charged_usd for entry in ledger.entries))
        self._progress: Progress = NoProgress()
        self._in_a_row: Counter[str] = Counter()
        self._stopping = asyncio.Event()
        self._places = asyncio.Semaphore(plan.concurrency)
        self._own_places = {candidate.name: _place(candidate) for candidate in (*plan.candidates, plan.judge_model) if candidate is not None}

    def stop(self, why: str) -> None:
        """Begin no more calls; those under way are finished and kept."""
        self.stopped = self.stopped or why
        self._stopping.set()

    async def run(self, prompts: Sequence[Prompt], progress: Progress) -> None:
        """Work through the prompts, each text once, and report each to ``progress``, as well as calls that take long.

        Raises:
            AamcError: The judge failed; calls in progress are finished and kept first.
        """
        self._progress = progress
        progress.start("prompts", len(prompts))
        maximum_usd = {prompt.text: await self.row_maximum_usd(prompt) for prompt in prompts}
        for costs in (False, True):  # prompts without further cost come first, so that they are in the result wherever the rest ends
            rows = iter([prompt for prompt in prompts if bool(maximum_usd[prompt.text]) == costs])
            ended = await asyncio.gather(*(self._work(rows) for _ in range(self.plan.concurrency)), return_exceptions=True)
            for error in ended:
                if isinstance(error, BaseException):
                    raise error

    async def _work(self, rows: Iterator[Prompt]) -> None:
        for prompt in rows:
            if self.stopped:
                return
            try:
                await self._row(prompt)
            except BaseException:
                self.stop("an error")
                raise
            self._progress.advance(1, usd=self.budget.spent_usd)

    async def _row(self, prompt: Prompt) -> None:
        """Get and judge the answers to one prompt, within one reservation, so that every answer can be judged."""
        reservation = await self.budget.reserve(await self.row_maximum_usd(prompt))
        if reservation is None:
            self.stop("the budget")
            return
        try:
            found = await asyncio.gather(*(self._call(ANSWER, candidate, prompt.text, reservation) for candidate in self.plan.candidates))
            answers = {entry.candidate: entry for entry in found if entry is not None}
            self.answers[prompt.text] = answers
            if self.stopped and len(answers) < len(found):
                return  # judged when the missing answers have come
            self.qualities[prompt.text] = await self._judge(prompt, answers, lambda judge, text: self._call(VERDICT, judge, text, reservation))
        finally:
            await reservation.release()

    async def _judge(
        self, prompt: Prompt, answers: Mapping[str, LedgerEntry], verdict: Callable[[ModelSpec, str], Awaitable[LedgerEntry | None]]
    ) -> Mapping[str, float | None]:
        """Return the qualities of answers, with the verdicts of the judge's model on texts; None for none."""

        async def ask(text: str) -> str | None:
            assert self.plan.judge_model is not None
            entry = await verdict(self.plan.judge_model, text)
            return None if entry is None else entry.text

        return await self.plan.judge.qualities(prompt, {name: entry.text for name, entry in answers.items()}, ask)

    def known(self, prompt: Prompt) -> dict[str, LedgerEntry]:
        """Return the answers to a prompt that the ledger has, by candidate."""
        found = {candidate.name: self.ledger.find(self.plan.key(ANSWER, candidate, prompt.text)) for candidate in self.plan.candidates}
        return {name: entry for name, entry in found.items() if entry is not None}

    async def row_maximum_usd(self, prompt: Prompt) -> float:
        """Return the maximum cost of the calls that a prompt still needs."""
        plan, known = self.plan, self.known(prompt)
        usd = sum(plan.maximum_usd(ANSWER, candidate, prompt.text) for candidate in plan.candidates if candidate.name not in known)
        if plan.judge_model is None:
            return usd
        if len(known) == len(plan.candidates):
            return sum(plan.maximum_usd(VERDICT, plan.judge_model, text) for text in await self.missing_verdicts(prompt, known))
        # Answers count as twice their tokens in the judge's own tokens: no two tokenizers differ more.
        answers = 2 * 2 * max(plan.output_limit(ANSWER, candidate) for candidate in plan.candidates)
        verdict_usd = plan.maximum_usd(VERDICT, plan.judge_model, comparison(prompt, "", ""), answers)
        return usd + plan.judge.calls(prompt, plan.pool.names) * verdict_usd

    async def missing_verdicts(self, prompt: Prompt, answers: Mapping[str, LedgerEntry]) -> list[str]:
        """Return the texts that the judge's model has still to be asked about known answers."""
        missing: list[str] = []

        async def look_up(judge: ModelSpec, text: str) -> LedgerEntry | None:
            entry = self.ledger.find(self.plan.key(VERDICT, judge, text))
            if entry is None:
                missing.append(text)
            return entry

        await self._judge(prompt, answers, look_up)
        return missing

    async def _call(self, kind: str, candidate: ModelSpec, text: str, reservation: ReservedBudget) -> LedgerEntry | None:
        """Return the call of the ledger, or make it; None if it failed, or no more calls are made."""
        key = self.plan.key(kind, candidate, text)
        if (known := self.ledger.find(key)) is not None:
            return known
        for pauses in range(MAX_PAUSES + 1):
            try:
                async with self._own_places[candidate.name], self._places:
                    if self.stopped or candidate.name in self.given_up:
                        return None
                    await self._ask(kind, key, candidate, text, reservation)
                self._in_a_row[candidate.name] = 0
                return self.ledger.find(key)
            except ProviderError as error:
                if error.kind not in _PASSING or may_be_billed(error) or error.retry_after_s is None or pauses == MAX_PAUSES:
                    self._count_failure(kind, candidate.name, error)
                    return None
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), min(error.retry_after_s, MAX_PAUSE_S))
        return None

    async def _ask(self, kind: str, key: str, candidate: ModelSpec, text: str, reservation: ReservedBudget) -> None:
        """Call a model and add the call to the ledger, however it ends."""
        maximum = self.plan.maximum_usd(kind, candidate, text)
        said: dict[str, str] = {}
        unbilled = False

        async def record(attempt: Attempt) -> None:
            entry = _entry(kind, attempt, said, 0.0 if unbilled else maximum)
            reservation.charge(entry.charged_usd)
            await self.ledger.add(entry)

        async def repeat() -> bool:
            if not reservation.extend(maximum):
                return False
            reservation.charge(maximum)
            await self.ledger.add(attrs.evolve(begun, status="error", error="no whole answer came; the call was repeated", time=time.time()))
            await self.ledger.add(begun)
            return True

        def report() -> None:
            self._progress.say(f"{candidate.name} has not answered for {SLOW_CALL_S:g} s; its endpoint's timeout_seconds limits the wait")

        provider = self.models.provider(candidate)
        begun = LedgerEntry(key=key, kind=kind, candidate=candidate.name, status=BEGUN, charged_usd=maximum, time=time.time())
        await self.ledger.add(begun)
        async with self.models.call(candidate, key, record) as call:
            slow = asyncio.get_running_loop().call_later(SLOW_CALL_S, report)
            try:
                with repeats_need(repeat):
                    answer = await provider.complete(candidate, [{"role": "user", "content": text}], **self.plan.parameters(kind, candidate))
            except ProviderError as error:
                unbilled = not may_be_billed(error)
                raise
            finally:
                slow.cancel()
            call.usage, call.cost_usd = answer.usage, answer.cost_usd
            said.update(text=answer.text, finish_reason=answer.finish_reason)

    def _count_failure(self, kind: str, name: str, error: ProviderError) -> None:
        self.failed[name] += 1
        self.errors.pop(name, None)  # so that the last call's is last
        self.errors[name] = str(error)
        self._in_a_row[name] += 1
        if error.kind in _HOPELESS or self._in_a_row[name] >= MAX_FAILURES:
            self.given_up[name] = str(error)
            if kind == VERDICT:
                self.stop("the judge's errors")


def _place(candidate: ModelSpec) -> asyncio.Semaphore:
    """Return the semaphore of an endpoint's declared concurrency."""
    limit = candidate.endpoint.concurrency if candidate.endpoint is not None else None
    return asyncio.Semaphore(limit or 1_000_000)


def _entry(kind: str, attempt: Attempt, said: Mapping[str, Any], maximum_usd: float) -> LedgerEntry:
    known = attempt.cost_usd == attempt.cost_usd  # NaN is unequal to itself
    return LedgerEntry(
        key=attempt.decision_id,
        kind=kind,
        **{name: getattr(attempt, name) for name in _OF_ATTEMPT},
        **said,
        charged_usd=attempt.cost_usd if known else maximum_usd,
        time=time.time(),
    )
