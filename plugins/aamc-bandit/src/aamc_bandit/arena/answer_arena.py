"""The arena: several candidates answer a query, the answers are compared, and each comparison is logged as feedback."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import sys
import time
from asyncio import Semaphore
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from typing import Any

import attrs

from aamc_bandit.arena.judges import AnswerJudge, JudgeVerdict
from aamc_bandit.arena.match import (
    AnswerComparison,
    CallModel,
    CandidateAnswer,
    Match,
    calls_by_endpoint,
    checked_output,
    comparison_feedback,
    draw_entrants,
    known_sum,
    shown_position,
    vote_feedback,
)
from aamc_sdk import MetaController
from aamc_sdk.config import configure, option
from aamc_sdk.errors import AamcError, DataError
from aamc_sdk.messages import error_text, nearest, one_of
from aamc_sdk.serving import conversation, counted_calls
from aamc_sdk.types import Decision, Feedback, Query

logger = logging.getLogger(__name__)


class NoAnswerError(AamcError, RuntimeError):
    """Raised when no candidate answered, or with ``on_error: fail`` when one did not; the message gives each reason."""


@attrs.frozen(kw_only=True)
class ArenaOptions:
    """Options of the arena; ``max_concurrent`` and ``on_error`` are those of vLLM Semantic Router's ``type: concurrent``."""

    candidates: int | None = option(None, "Number of candidates that answer: the router's choice and others drawn; none: all allowed.", at_least=2)
    timeout_seconds: float = option(60.0, "Time limit of an answer or a verdict, in seconds.", above=0)
    max_concurrent: int | None = option(None, "Maximum number of concurrent calls in a match; none: no limit.", at_least=1)
    on_error: str = option("skip", "Effect of a failed call: skip leaves its candidate out, fail fails the match.", choices=("skip", "fail"))


class Arena:
    """Plays matches: several candidates answer one query, and every comparison of two answers is feedback.

    Each answer has a total weight of 1: with n answers, a pair weighs 1 / (n - 1). Calls are logged as attempts of the decision,
    failed and cancelled ones with their error. The id of a judge's feedback consists of decision, source and pair, that of a vote of decision,
    source and number: a repetition counts once, and a contradiction is refused.

    Args:
        controller: Provides the candidates and the router that learns.
        call: Calls a candidate with the query's turns and text, as messages of OpenAI's dialect, and returns its answer; None to call the candidates
            by their endpoints.
        judge: Compares answers; None where users vote, see :meth:`vote`.
        options: The fields of :class:`ArenaOptions`.

    Raises:
        ConfigError: An option is unknown or invalid.
    """

    def __init__(
        self,
        controller: MetaController,
        call: CallModel | None = None,
        judge: AnswerJudge | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.options = configure(ArenaOptions, options or {}, where="arena")
        self._controller = controller
        self._call = call or calls_by_endpoint(controller.models)
        self._judge = judge

    async def play(self, query: str | Query, preference: Any = None, **route_options: Any) -> Match:
        """Play one match. The decision, the calls and the comparisons are in the log when this returns.

        Args:
            query: The query.
            preference: The preference, as for :meth:`aamc_sdk.MetaController.route`.
            **route_options: Other arguments of ``route``, such as ``user``, ``session``, ``needs``, ``unavailable``,
                ``budget_usd`` and ``decision_id``.

        Raises:
            NoAnswerError: No candidate answered; or one did not, and ``on_error`` is ``fail``.
        """
        decision = await self._controller.aroute(query, preference, **route_options)
        seed, entrants = self._controller.seed, await self._entrants(decision.id)
        query = query if isinstance(query, Query) else Query(query)
        limit = Semaphore(self.options.max_concurrent or sys.maxsize)
        calls: dict[str, CandidateAnswer] = {}
        try:
            # with return_exceptions, a cancellation waits for all calls to end
            await asyncio.gather(*(self._answer(name, query, limit, calls) for name in entrants), return_exceptions=True)
        finally:  # calls of a cancelled match may have been paid
            answers = [calls[name] for name in entrants if name in calls]
            await asyncio.shield(self._log_attempts(decision, answers))
        answered = [answer for answer in answers if answer.error is None]
        answered.sort(key=lambda answer: shown_position(decision.id, answer.candidate, seed))
        failed = tuple(answer for answer in answers if answer.error is not None)
        match = Match(decision=decision, query=query, answers=tuple(answered), failed=failed)
        if match.failed and (not match.answers or self.options.on_error == "fail"):
            reasons = "; ".join(f"{answer.candidate}: {answer.error}" for answer in match.failed)
            raise NoAnswerError(f"match {decision.id!r}: {len(match.answers)} answered, {len(match.failed)} did not ({reasons})")
        return await self.judge(match)

    async def judge(self, match: Match) -> Match:
        """Return a match with the judge's comparisons, which are then in the log; the same match without a judge."""
        judge, limit = self._judge, Semaphore(self.options.max_concurrent or sys.maxsize)
        if judge is None:
            return match
        pairs = list(itertools.combinations(match.answers, 2))
        verdicts = await asyncio.gather(*(self._verdict(match.query, judge, first, second, limit) for first, second in pairs))
        comparisons = tuple(_comparisons(zip(pairs, verdicts, strict=True)))
        by_pair = {"|".join(sorted((each.winner, each.loser))): each for each in comparisons}
        if by_pair:
            await self._log(comparison_feedback(match.decision.id, by_pair, weight=1 / (len(match.answers) - 1), source=judge.source))
        return attrs.evolve(match, comparisons=comparisons, judging_usd=known_sum(verdict.cost_usd for verdict in verdicts))

    async def vote(self, decision_id: str, winner: str, over: str | Sequence[str], *, tie: bool = False, source: str = "vote") -> int:
        """Record a vote for one answer over others; return the number of new comparisons.

        Args:
            decision_id: The decision of the match.
            winner: The candidate with the best answer.
            over: The other candidates shown, or the only one.
            tie: Whether all answers were equally good.
            source: The voter; each source votes once per match.

        Raises:
            DataError: A candidate took no part in the match, given this arena's options and the controller's seed; or ``over`` is empty.
            UnknownDecisionError: The match does not exist.
            StoreError: This source has voted differently before, or the decision had no such candidate.
        """
        losers = [over] if isinstance(over, str) else list(over)
        entrants = await self._entrants(decision_id)
        for name in (winner, *losers):
            if name not in entrants:
                raise DataError(f"{name!r} took no part in match {decision_id!r}{nearest(str(name), entrants)} ({one_of(entrants)} did)")
        if not losers or len({winner, *losers}) <= len(losers):
            raise DataError(f"a vote is for one answer over others, each named once, not for {winner!r} over {losers!r}")
        best, *others = sorted((winner, *losers)) if tie else (winner, *sorted(losers))
        return await self._log(vote_feedback(decision_id, best, others, tie=tie, source=source))

    async def _entrants(self, decision_id: str) -> list[str]:
        """Return the candidates of a match; the log and the seed determine them."""
        record = await asyncio.to_thread(self._controller.store.record, decision_id)
        return draw_entrants(record, self.options.candidates, self._controller.seed)

    async def _answer(self, name: str, query: Query, limit: Semaphore, calls: MutableMapping[str, CandidateAnswer]) -> None:
        """Call a candidate and add its answer to the calls, unless the match is cancelled before its turn."""
        pool = self._controller.pool
        costs: list[float] = []  # of a call that fails, too
        async with limit:
            began = time.perf_counter()
            try:
                with counted_calls(costs):
                    called = self._call(pool.candidates[pool.index(name)], conversation(query))
                    output = checked_output(await asyncio.wait_for(called, self.options.timeout_seconds))
            except asyncio.CancelledError:
                reason = "the call was cancelled"
                calls[name] = CandidateAnswer(candidate=name, cost_usd=_sum(costs), latency_ms=_elapsed_ms(began), error=reason, cancelled=True)
                raise
            except Exception as error:  # the given function may raise anything; the other answers count
                reason = _reason(error, self.options.timeout_seconds)
                calls[name] = CandidateAnswer(candidate=name, cost_usd=_sum(costs), latency_ms=_elapsed_ms(began), error=reason)
            else:
                calls[name] = CandidateAnswer(candidate=name, content=output.content, cost_usd=output.cost, latency_ms=_elapsed_ms(began))

    async def _log_attempts(self, decision: Decision, answers: Sequence[CandidateAnswer]) -> None:
        """Log the calls, the router's choice last: the last attempt without an error counts as the serving one."""
        for answer in reversed(answers):
            cost_usd = None if math.isnan(answer.cost_usd) else answer.cost_usd
            status = "cancelled" if answer.cancelled else None
            await self._controller.aattempt(
                decision.id, candidate=answer.candidate, cost_usd=cost_usd, latency_ms=answer.latency_ms, status=status, error=answer.error
            )

    async def _verdict(self, query: Query, judge: AnswerJudge, first: CandidateAnswer, second: CandidateAnswer, limit: Semaphore) -> JudgeVerdict:
        costs: list[float] = []  # of calls that fail, too
        async with limit:
            try:
                with counted_calls(costs):
                    verdict: object = await asyncio.wait_for(judge.compare(query, first, second), self.options.timeout_seconds)
                if isinstance(verdict, JudgeVerdict):
                    return attrs.evolve(verdict, cost_usd=sum(costs)) if verdict.cost_usd < sum(costs) else verdict
                reason = f"a judge must return a JudgeVerdict, not {verdict!r:.80}"
            except Exception as error:  # a judge may raise anything; without a verdict there is no feedback
                reason = _reason(error, self.options.timeout_seconds)
        logger.warning("no verdict on %s and %s: %s", first.candidate, second.candidate, reason)
        return JudgeVerdict(first=None, cost_usd=sum(costs))

    async def _log(self, comparisons: Sequence[Feedback]) -> int:
        return sum(await asyncio.to_thread(self._controller.feedback_batch, comparisons))


def _comparisons(verdicts: Iterable[tuple[tuple[CandidateAnswer, CandidateAnswer], JudgeVerdict]]) -> Iterable[AnswerComparison]:
    for (first, second), verdict in verdicts:
        if verdict.first is not None:
            tie = verdict.first == 0.5
            names = (first.candidate, second.candidate)
            winner, loser = sorted(names) if tie else names if verdict.first else names[::-1]  # a tie repeated in the other order is the same
            yield AnswerComparison(winner, loser, tie)


def _elapsed_ms(began: float) -> float:
    return 1000 * (time.perf_counter() - began)


def _sum(costs: Sequence[float]) -> float:
    return sum(costs) if costs else math.nan


def _reason(error: Exception, seconds: float) -> str:
    return f"no answer within {seconds:g} s" if isinstance(error, TimeoutError | asyncio.TimeoutError) else error_text(error)
