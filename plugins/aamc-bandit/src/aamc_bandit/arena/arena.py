"""The arena: it lets candidates answer, has the answers judged, and tells the router's log who won."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import attrs

from aamc_bandit.arena.judges import Judge, Verdict, checked_verdict
from aamc_bandit.arena.match import Answer, Comparison, Match, checked_output, draw_entrants, known_sum
from aamc_sdk import MetaController
from aamc_sdk.config import configure, option
from aamc_sdk.errors import AamcError, DataError, nearest, one_of
from aamc_sdk.interfaces import AgentOutput
from aamc_sdk.routing import uniform
from aamc_sdk.types import Attempt, Candidate, Decision, Query

logger = logging.getLogger(__name__)


class NoAnswerError(AamcError, RuntimeError):
    """Raised when no candidate answered, or one did not where that must not be; the message gives each reason."""


@attrs.frozen(kw_only=True)
class ArenaOptions:
    """How matches are played; ``max_concurrent`` and ``on_error`` are those of vLLM Semantic Router's ``type: concurrent``."""

    candidates: int | None = option(None, "how many answer: the router's choice and others that it draws; none: all that may", at_least=2)
    timeout_seconds: float = option(60.0, "how long an answer or a verdict may take, in seconds", above=0)
    max_concurrent: int | None = option(None, "how many calls of a match may be under way at once; none: no limit", at_least=1)
    on_error: str = option("skip", "what a failed call does: leave its candidate out, or fail the match", choices=("skip", "fail"))


class Arena:
    """Plays matches: several candidates answer one query at once, and every comparison of their answers is feedback.

    An answer counts as one comparison, however many it is compared with: with n answers, each pair weighs 1 / (n - 1).
    Calls are logged as attempts of the decision, failed ones with their error; feedback goes into the log under ids that
    follow from decision, source and pair, so a repetition counts once and a contradiction is refused.

    Args:
        controller: Whose candidates answer and whose router learns.
        call: Calls a candidate with a prompt and returns its answer.
        judge: Compares answers; None where a user votes, see :meth:`vote`.
        options: As :class:`ArenaOptions` has them.

    Raises:
        ConfigError: An option is unknown or cannot be used.
    """

    def __init__(
        self,
        controller: MetaController,
        call: Callable[[Candidate, str], Awaitable[AgentOutput]],
        judge: Judge | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.options = configure(ArenaOptions, options or {}, where="arena")
        self._controller = controller
        self._call = call
        self._judge = judge

    async def play(self, query: str | Query, preference: Any = None, **asked: Any) -> Match:
        """Play one match; the decision, the calls and what the judge found are in the log when this returns.

        Args:
            query: What is asked.
            preference: As for :meth:`aamc_sdk.MetaController.route`.
            **asked: Likewise: ``user``, ``session``, ``needs``, ``unavailable``, ``budget_usd``, ``decision_id``.

        Raises:
            NoAnswerError: Nobody answered; or somebody did not, and ``on_error`` is ``fail``.
        """
        decision = await self._controller.aroute(query, preference, **asked)
        seed, entrants = self._controller.seed, await self._entrants(decision.id)
        asked_for = query if isinstance(query, Query) else Query(query)
        gate = asyncio.Semaphore(self.options.max_concurrent) if self.options.max_concurrent else nullcontext()
        answers = await asyncio.gather(*(self._answer(name, asked_for.text, gate) for name in entrants))
        await asyncio.to_thread(self._note, decision, answers)
        match = Match(
            decision=decision,
            query=asked_for,
            answers=tuple(sorted((answer for answer in answers if answer.error is None), key=lambda answer: _place(seed, decision, answer))),
            failed=tuple(answer for answer in answers if answer.error is not None),
        )
        self._check(match)
        return match if self._judge is None else await self._judged(match, self._judge, gate)

    async def vote(self, decision_id: str, winner: str, over: str | Sequence[str], *, tie: bool = False, source: str = "vote") -> int:
        """Say which answer somebody liked best; return how many comparisons are new.

        Args:
            decision_id: The match's decision.
            winner: Whose answer it was.
            over: The others that were seen, or the only one.
            tie: Whether they were all equally good.
            source: Who says so; each source votes once a match.

        Raises:
            DataError: Somebody took no part in the match, as this arena's options and the controller's seed drew it; or there are no others.
            UnknownDecisionError: There was no such match.
            StoreError: This source has voted otherwise before, or the decision had no such candidate.
        """
        losers = [over] if isinstance(over, str) else list(over)
        entrants = await self._entrants(decision_id)
        for name in (winner, *losers):
            if name not in entrants:
                raise DataError(f"{name!r} took no part in match {decision_id!r}{nearest(str(name), entrants)} ({one_of(entrants)} did)")
        if not losers or len({winner, *losers}) <= len(losers):
            raise DataError(f"a vote is for one answer over others, each named once, not for {winner!r} over {losers!r}")
        return await self._tell(decision_id, [Comparison(winner, loser, tie) for loser in losers], len(losers) + 1, source)

    async def _entrants(self, decision_id: str) -> list[str]:
        """Return who is asked in a match, the same whenever and wherever that is asked."""
        record = await asyncio.to_thread(self._controller.store.record, decision_id)
        return draw_entrants(record, self.options.candidates, self._controller.seed)

    async def _answer(self, name: str, prompt: str, gate: Any) -> Answer:
        pool = self._controller.pool
        async with gate:
            began = time.perf_counter()
            try:
                called = asyncio.wait_for(self._call(pool.candidates[pool.index(name)], prompt), self.options.timeout_seconds)
                output = checked_output(await called)
            except Exception as error:  # a caller's function may raise anything; the other answers stay
                return Answer(candidate=name, latency_ms=_elapsed_ms(began), error=_reason(error, self.options.timeout_seconds))
            return Answer(candidate=name, content=output.content, cost_usd=output.cost, latency_ms=_elapsed_ms(began))

    def _note(self, decision: Decision, answers: Sequence[Answer]) -> None:
        """Log the calls, the router's own choice last: the last one without an error is who served the decision."""
        for n, answer in enumerate(reversed(answers)):
            self._controller.store.add_attempts([Attempt(decision.id, n, answer.candidate, answer.cost_usd, answer.latency_ms, error=answer.error)])

    def _check(self, match: Match) -> None:
        if match.failed and (not match.answers or self.options.on_error == "fail"):
            reasons = "; ".join(f"{answer.candidate}: {answer.error}" for answer in match.failed)
            raise NoAnswerError(f"match {match.decision.id!r}: {len(match.answers)} answered, {len(match.failed)} did not ({reasons})")

    async def _judged(self, match: Match, judge: Judge, gate: Any) -> Match:
        pairs = list(itertools.combinations(match.answers, 2))
        verdicts = await asyncio.gather(*(self._verdict(match.query, judge, first, second, gate) for first, second in pairs))
        comparisons = tuple(_comparisons(zip(pairs, verdicts, strict=True)))
        await self._tell(match.decision.id, comparisons, len(match.answers), judge.source)
        return attrs.evolve(match, comparisons=comparisons, judging_usd=known_sum(verdict.cost_usd for verdict in verdicts))

    async def _verdict(self, query: Query, judge: Judge, first: Answer, second: Answer, gate: Any) -> Verdict:
        async with gate:
            try:
                return checked_verdict(await asyncio.wait_for(judge.compare(query, first, second), self.options.timeout_seconds))
            except Exception as error:  # a judge may raise anything; what it does not judge teaches nothing
                reason = _reason(error, self.options.timeout_seconds)
                logger.warning("no verdict on %s and %s: %s", first.candidate, second.candidate, reason)
                return Verdict(first=None)

    async def _tell(self, decision_id: str, comparisons: Sequence[Comparison], answers: int, source: str) -> int:
        new = 0
        for comparison in comparisons:
            first, second = sorted((comparison.winner, comparison.loser))
            tied = comparison.tie  # then who is named first means nothing, and must not make a repetition look like a contradiction
            new += await self._controller.afeedback(
                decision_id,
                id=f"{decision_id}/{source}/{first}|{second}",
                candidate=first if tied else comparison.winner,
                over=second if tied else comparison.loser,
                tie=comparison.tie,
                weight=1 / (answers - 1),
                source=source,
            )
        return new


def _place(seed: int, decision: Decision, answer: Answer) -> float:
    """Return where an answer stands among those that are shown: by chance, and always the same."""
    return uniform(seed, f"{decision.id}/shown/{answer.candidate}")


def _comparisons(judged: Iterable[tuple[tuple[Answer, Answer], Verdict]]) -> Iterable[Comparison]:
    for (first, second), verdict in judged:
        if verdict.first is not None:
            winner, loser = (first, second) if verdict.first >= 0.5 else (second, first)
            yield Comparison(winner.candidate, loser.candidate, tie=verdict.first == 0.5)


def _elapsed_ms(began: float) -> float:
    return 1000 * (time.perf_counter() - began)


def _reason(error: Exception, seconds: float) -> str:
    return f"no answer within {seconds:g} s" if isinstance(error, TimeoutError | asyncio.TimeoutError) else f"{type(error).__name__}: {error}"
