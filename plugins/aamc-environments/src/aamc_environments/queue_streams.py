"""Streams under load: each candidate is a first-come-first-served queue with one server in each stream.

Between arrivals a queue works off its backlog (Lindley's recursion): with W the wait of a query,
S its service and A the time to the next arrival, the next one waits max(0, W + S - A). S is
exponential with the candidate's mean service time for answers of the query's length, A with the
mean gap between arrivals. If all lengths are equal, that is an M/M/1 queue.
"""

from __future__ import annotations

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_environments.events import Conditions, Schedule
from aamc_environments.streams import StepDraws, Streams, StreamSetup
from aamc_sdk import ModelSpec, Outcomes, Pool, RoutingRequest
from aamc_sdk.errors import PoolError
from aamc_sdk.routing import expected_cost, token_counts
from aamc_sdk.types import DEFAULT_OUTPUT_TOKENS, Floats, sigmoid

_NOTHING = np.array(0, dtype=np.float32)
"""No backlog."""


@attrs.frozen(eq=False)
class MeanLatencies:
    """The candidates' mean latencies in milliseconds, ``[M]`` each."""

    network_ms: Floats
    service_ms: Floats

    @classmethod
    def of(cls, pool: Pool) -> MeanLatencies:
        """Read the latencies of the candidates' specifications.

        Raises:
            PoolError: A candidate has no latency or no prices, or every service time is 0.
        """
        found = []
        for candidate in pool:
            if not isinstance(candidate, ModelSpec) or candidate.latency is None or candidate.prices is None:
                lacking = f"and {candidate.name!r} lacks some; give them in the pool's file"
                raise PoolError(f"environment queue needs prices and latency of every candidate, {lacking}")
            found.append((candidate.latency.network_ms, candidate.latency.service_ms))
        network_ms, service_ms = np.array(found, dtype=np.float64).T.copy()
        if not service_ms.any():
            raise PoolError("environment queue needs a candidate with a service_ms above 0: without service there is no queue")
        return cls(network_ms, service_ms)


@attrs.frozen(eq=False)
class TrueOutcomes:
    """The true expectations of Q rows of a split.

    Attributes:
        log_odds: Log-odds of success, ``[Q, M]``.
        prompt_usd: USD of the prompt, ``[Q, M]``.
        answer_usd: USD of an answer of mean length, ``[Q, M]``.
        output_tokens: The mean length of an answer, ``[Q]``.
        longer: The factor on the mean service times, ``[Q]``.
    """

    log_odds: Floats
    prompt_usd: Floats
    answer_usd: Floats
    output_tokens: Floats
    longer: Floats

    @classmethod
    def of(cls, request: RoutingRequest, log_odds: Floats, output_tokens: Floats, *, service_by_length: bool) -> TrueOutcomes:
        """Price the output tokens ``[Q]`` of the world, or those that a query states itself.

        The mean service time is that of an answer of 256 tokens. It grows with the tokens that a query states, and with those of the world
        if ``service_by_length``.
        """
        prices = np.array([c.prices.output for c in request.pool if isinstance(c, ModelSpec) and c.prices is not None]) / 1e6
        assumed = token_counts(request.queries)[:, 1]
        own = np.array([query.output_tokens is not None for query in request.queries])
        prompt = expected_cost(request.queries, request.pool) - np.outer(assumed, prices)
        tokens = np.where(own, assumed, output_tokens)
        longer = np.where(own | service_by_length, tokens / DEFAULT_OUTPUT_TOKENS, 1.0)
        return cls(log_odds, prompt, np.outer(tokens, prices), tokens, longer)

    def under(self, drift: Floats, price: Floats) -> Floats:
        """Return chance of success, USD of the prompt, and of an answer of mean length, ``[3, Q, M]``.

        Args:
            drift: Change of each candidate's log-odds, ``[M]``.
            price: Each candidate's multiple of its list price, ``[M]``.
        """
        return np.stack((sigmoid(self.log_odds + drift), self.prompt_usd * price, self.answer_usd * price))


@attrs.frozen(kw_only=True)
class Arrivals:
    """The arrival process of queries.

    Attributes:
        per_second: Mean arrival rate of a stream.
        burst: Arrival rate within bursts as a multiple of the rate between them; 1 for a Poisson process.
        share: Share of queries within bursts.
        length: Mean number of queries in a burst.
    """

    per_second: float
    burst: float = 1.0
    share: float = 0.2
    length: float = 20.0

    @property
    def calm_gap_ms(self) -> float:
        """Mean gap between bursts: the mean over all queries is ``1000 / per_second``."""
        return 1000 / self.per_second / (self.share / self.burst + 1 - self.share)

    def change(self, bursting: NDArray[np.bool_], uniforms: Floats) -> NDArray[np.bool_]:
        """Return whether each stream ``[n]`` is in a burst at its next query."""
        leave = 1 / self.length
        enter = leave * self.share / (1 - self.share)
        return bursting ^ (uniforms < np.where(bursting, leave, enter))


class QueueStreams(Streams):
    """Streams whose candidates are queues.

    Args:
        setup: The setup of the streams.
        truth: The true expectations of the split's rows.
        arrivals: The arrival process.
        schedule: The events.
    """

    def __init__(self, setup: StreamSetup, truth: TrueOutcomes, arrivals: Arrivals, schedule: Schedule) -> None:
        self._latencies = MeanLatencies.of(setup.request.pool)
        self._truth = truth
        self._arrivals = arrivals
        self._calm_gap_ms = arrivals.calm_gap_ms
        self._schedule = schedule
        self._requests = [_visible_request(setup.request, conditions) for conditions in schedule.conditions]
        self._phase_and_drift: tuple[float, ...] = ()
        self._queues = np.arange(len(setup.streams)) * len(setup.request.pool)
        super().__init__(attrs.evolve(setup, request=self._requests[0]))

    def _begin(self) -> None:
        self._backlog_ms = np.zeros((self.num_envs, len(self.visible.pool)), dtype=np.float32)
        self._bursting = np.zeros(self.num_envs, dtype=bool)

    def _prepare(self, chances: StepDraws) -> None:
        if self.clock == 0 or self._schedule.changes(self.clock):
            self._follow_schedule()
        self._draws = chances
        gap_ms = chances.gap * self._calm_gap_ms
        if self._arrivals.burst != 1:
            self._bursting = self._arrivals.change(self._bursting, chances.burst)
            gap_ms = np.where(self._bursting, gap_ms / self._arrivals.burst, gap_ms)
        backlog_ms = self._backlog_ms.T
        backlog_ms -= np.asarray(gap_ms, dtype=np.float32)
        np.maximum(self._backlog_ms, _NOTHING, out=self._backlog_ms)

    def _follow_schedule(self) -> None:
        phase, drift = self._schedule.phase(self.clock), self._schedule.drift(self.clock)
        if (phase, *drift) == self._phase_and_drift:
            return
        self._phase_and_drift = (phase, *drift)
        if self.visible is not self._requests[phase]:
            self._show(self._requests[phase])
        self._tables = self._truth.under(drift, self._schedule.conditions[phase].price)
        self._flat_tables = self._tables.reshape(3, -1)

    def _wait(self) -> Floats:
        return self._backlog_ms

    def _hindsight(self) -> Outcomes:
        chance, prompt_usd, answer_usd = self._tables.take(self.row, axis=1)
        service_ms = self._truth.longer.take(self.row)[:, None] * self._latencies.service_ms
        return Outcomes(chance, prompt_usd + answer_usd, self._latencies.network_ms + service_ms + self._backlog_ms)

    def counterfactual_quality(self) -> Floats:
        """Return the quality that each candidate would have for the present queries, with the random numbers of this step, ``[n, M]``.

        It is NaN for a candidate that is not allowed.
        """
        would_succeed = np.reshape(self._draws.success, (-1, 1)) < self._tables[0].take(self.row, axis=0)
        return np.where(self.visible.mask[self.row], would_succeed, np.nan)

    def _serve(self, actions: NDArray[np.intp], cells: NDArray[np.intp], allowed: NDArray[np.bool_]) -> Outcomes:
        chance, prompt_usd, answer_usd = self._flat_tables.take(cells, axis=1)
        service_ms = self._draws.service * self._latencies.service_ms.take(actions) * self._truth.longer.take(self.row)
        queues = self._queues + actions
        backlog_ms = self._backlog_ms.reshape(-1)
        wait_ms = backlog_ms.take(queues)
        backlog_ms[queues] = wait_ms + service_ms * allowed
        return Outcomes(
            quality=(self._draws.success < chance).astype(np.float64),
            cost_usd=prompt_usd + answer_usd * (0.5 + self._draws.length),
            latency_ms=wait_ms + service_ms + self._latencies.network_ms.take(actions),
        )


def _visible_request(request: RoutingRequest, conditions: Conditions) -> RoutingRequest:
    """Return all rows as routers see them under some conditions."""
    expected = attrs.evolve(request.expected, cost_usd=request.expected.cost_usd * conditions.price)
    absent = np.broadcast_to(~conditions.available, request.mask.shape)
    why = dict(request.masked_why)
    if absent.any():
        why["unavailable"] = absent | why.get("unavailable", np.False_)
    return attrs.evolve(request, expected=expected, mask=request.mask & ~absent, masked_why=why)
