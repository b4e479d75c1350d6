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

from aamc_environments.queue.events import Conditions, Schedule
from aamc_environments.resources import Resource, StepCalls, StepView
from aamc_environments.streams import StepDraws, Streams, StreamSetup
from aamc_sdk import Outcomes, Pool, RoutingRequest
from aamc_sdk.errors import PoolError
from aamc_sdk.routing import expected_cost, token_counts
from aamc_sdk.types import DEFAULT_OUTPUT_TOKENS, Floats, sigmoid

_NOTHING = np.array(0, dtype=np.float32)
"""No backlog."""
CALM, ANNOUNCED, BURST = range(3)
"""Phases of arrivals."""


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
            if candidate.latency is None or candidate.prices is None:
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
        prompt_tokens: The length of the prompt, ``[Q]``.
        output_tokens: The mean length of an answer, ``[Q]``.
        longer: The factor on the mean service times, ``[Q]``.
    """

    log_odds: Floats
    prompt_usd: Floats
    answer_usd: Floats
    prompt_tokens: Floats
    output_tokens: Floats
    longer: Floats

    @classmethod
    def of(cls, request: RoutingRequest, log_odds: Floats, output_tokens: Floats, *, service_by_length: bool) -> TrueOutcomes:
        """Price the output tokens ``[Q]`` of the world, or those that a query states itself.

        The mean service time is that of an answer of 256 tokens. It grows with the tokens that a query states, and with those of the world
        if ``service_by_length``.
        """
        prices = np.array([c.prices.output for c in request.pool if c.prices is not None]) / 1e6
        prompt_tokens, assumed = token_counts(request.queries).T
        own = np.array([query.output_tokens is not None for query in request.queries])
        prompt = expected_cost(request.queries, request.pool) - np.outer(assumed, prices)
        tokens = np.where(own, assumed, output_tokens)
        longer = np.where(own | service_by_length, tokens / DEFAULT_OUTPUT_TOKENS, 1.0)
        return cls(log_odds, prompt, np.outer(tokens, prices), prompt_tokens, tokens, longer)

    def under(self, drift: Floats, price: Floats) -> Floats:
        """Return chance of success, USD of the prompt, and of an answer of mean length, ``[3, Q, M]``.

        ``drift`` is the change of each candidate's log-odds, and ``price`` the multiple of its list price, ``[M]`` each.
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
        warning: Mean number of queries between the announcement of a burst and its beginning; 0 for none.
    """

    per_second: float
    burst: float = 1.0
    share: float = 0.2
    length: float = 20.0
    warning: float = 0.0

    @property
    def calm_gap_ms(self) -> float:
        """Mean gap between bursts: the mean over all queries is ``1000 / per_second``."""
        return 1000 / self.per_second / (self.share / self.burst + 1 - self.share)

    @property
    def transitions(self) -> Floats:
        """Chances that a query of one phase (calm, announced, burst) is followed by one of another, ``[3, 3]``."""
        leave = 1 / self.length
        calm = max((1 - self.share) / max(self.share, 1e-12) * self.length - self.warning, 1.0)  # mean queries of a calm phase
        rows = [[1 - 1 / calm, 0.0, 1 / calm], [1 - 1 / calm, 0.0, 1 / calm], [leave, 0.0, 1 - leave]]  # without a warning none is announced
        if self.warning:
            rows[CALM] = [1 - 1 / calm, 1 / calm, 0.0]
            rows[ANNOUNCED] = [0.0, 1 - 1 / max(self.warning, 1.0), 1 / max(self.warning, 1.0)]
        return np.array(rows)

    def next_phase(self, phase: NDArray[np.intp], uniforms: Floats) -> NDArray[np.intp]:
        """Return the phase of each stream ``[n]`` at its next query: it moves on, or stays."""
        stays = self.transitions[phase, phase]
        after = ANNOUNCED if self.warning else BURST
        return np.where(uniforms < 1 - stays, np.choose(phase, (after, BURST, CALM)), phase)


class QueueStreams(Streams):
    """Streams whose candidates are queues with one first-come-first-served server each, unless calls share a resource.

    Attributes:
        service_ms: The candidates' mean service times, ``[M]``.
        service_factors: The factors of the rows on the mean service times, ``[Q]``.
        backlog_ms: The work before each candidate in milliseconds, ``[n, M]``.
    """

    def __init__(self, setup: StreamSetup, truth: TrueOutcomes, arrivals: Arrivals, schedule: Schedule, resource: Resource | None = None) -> None:
        latencies = MeanLatencies.of(setup.request.pool)
        self._network_ms, self.service_ms = latencies.network_ms, latencies.service_ms
        self._truth, self.service_factors = truth, truth.longer
        self.arrivals = arrivals
        self._calm_gap_ms = arrivals.calm_gap_ms
        self._schedule = schedule
        self.resource = resource
        self._requests = [_visible_request(setup.request, conditions) for conditions in schedule.conditions]
        self._phase_and_drift: tuple[float, ...] = ()
        self._queues = np.arange(len(setup.streams)) * len(setup.request.pool)
        super().__init__(attrs.evolve(setup, request=self._requests[0]))

    @property
    def recovery(self) -> float:
        """Number of queries over which the shared resource recovers: those of a budget's day, or the calls that a full token bucket holds; else 0."""
        return 0.0 if self.resource is None else self.resource.recovery

    @property
    def resets(self) -> bool:
        """Whether the shared resource begins anew after these queries: a budget at the end of its day."""
        return self.resource is not None and self.resource.resets

    @property
    def state(self) -> Floats:
        """Return the backlogs or the state of the shared resource, ``[n, D]``."""
        return self.backlog_ms if self.resource is None else self.resource.state

    @property
    def idle_outcomes(self) -> Outcomes:
        """The true expectations of all rows in an idle pool, ``[Q, M]``."""
        chance, prompt_usd, answer_usd = self._tables
        return Outcomes(chance, prompt_usd + answer_usd, self._network_ms + self.service_factors[:, None] * self.service_ms)

    def _begin(self) -> None:
        self.backlog_ms = np.zeros((self.num_envs, len(self.visible.pool)), dtype=np.float32)
        self.phase = np.zeros(self.num_envs, dtype=np.intp)
        if self.resource is not None:
            self.resource.begin(self.setup.streams)

    def _prepare(self, chances: StepDraws) -> None:
        if self.clock == 0 or self._schedule.changes(self.clock):
            self._follow_schedule()
        self._draws = chances
        gap_ms = chances.gap * self._calm_gap_ms
        if self.arrivals.burst != 1:
            self.phase = self.arrivals.next_phase(self.phase, chances.burst)
            gap_ms = np.where(self.phase == BURST, gap_ms / self.arrivals.burst, gap_ms)
        if self.resource is not None:
            self.view = self.resource.arrive(np.atleast_1d(gap_ms), self.row, np.atleast_1d(chances.burst))
            return
        if self.arrivals.warning:
            self.view = StepView(pressure=np.repeat(self.phase[:, None] / BURST, len(self.visible.pool), axis=1))
        backlog_ms = self.backlog_ms.T
        backlog_ms -= np.asarray(gap_ms, dtype=np.float32)
        np.maximum(self.backlog_ms, _NOTHING, out=self.backlog_ms)

    def _follow_schedule(self) -> None:
        phase, drift = self._schedule.phase(self.clock), self._schedule.drift(self.clock)
        if (phase, *drift) == self._phase_and_drift:
            return
        self._phase_and_drift = (phase, *drift)
        if self.visible is not self._requests[phase]:
            self._show(self._requests[phase])
        conditions = self._schedule.conditions[phase]
        self._tables = self._truth.under(drift, conditions.price)
        self._flat_tables = self._tables.reshape(3, -1)
        if self.resource is not None:
            self.resource.price, self.resource.available = conditions.price, conditions.available

    def _wait(self) -> Floats | None:
        return self.backlog_ms if self.resource is None else self.view.wait_ms

    def _hindsight(self) -> Outcomes:
        chance, prompt_usd, answer_usd = self._tables.take(self.row, axis=1)
        service_ms = self.service_factors.take(self.row)[:, None] * self.service_ms
        cost_usd, wait_ms = prompt_usd + answer_usd, self._wait()
        if self.view.added_usd is not None:
            cost_usd = cost_usd + self.view.added_usd
        return Outcomes(chance, cost_usd, self._network_ms + service_ms + (0.0 if wait_ms is None else wait_ms))

    def counterfactual_quality(self) -> Floats:
        """Return the quality that each candidate would have for the present queries, with the random numbers of this step, ``[n, M]``.

        It is NaN for a candidate that is not allowed.
        """
        would_succeed = np.reshape(self._draws.success, (-1, 1)) < self._tables[0].take(self.row, axis=0)
        return np.where(self._mask, would_succeed, np.nan)

    def _serve(self, actions: NDArray[np.intp], cells: NDArray[np.intp], allowed: NDArray[np.bool_]) -> Outcomes:
        chance, prompt_usd, answer_usd = self._flat_tables.take(cells, axis=1)
        service_ms = self._draws.service * self.service_ms.take(actions) * self.service_factors.take(self.row)
        cost_usd = prompt_usd + answer_usd * (0.5 + self._draws.length)
        wait_ms: Floats | float = 0.0
        if self.resource is None:
            queues, backlog_ms = self._queues + actions, self.backlog_ms.reshape(-1)
            wait_ms = backlog_ms.take(queues)
            backlog_ms[queues] = wait_ms + service_ms * allowed
        else:
            streams, view = np.arange(self.num_envs), self.view
            if view.wait_ms is not None:
                wait_ms = view.wait_ms[streams, actions]
            if view.added_usd is not None:
                cost_usd = cost_usd + view.added_usd[streams, actions]
            tokens = self._truth.prompt_tokens.take(self.row) + self._truth.output_tokens.take(self.row) * (0.5 + self._draws.length)
            self.resource.serve(StepCalls(actions, allowed, service_ms, tokens, cost_usd))
        return Outcomes(
            quality=(self._draws.success < chance).astype(np.float64),
            cost_usd=cost_usd,
            latency_ms=wait_ms + service_ms + self._network_ms.take(actions),
        )


def _visible_request(request: RoutingRequest, conditions: Conditions) -> RoutingRequest:
    """Return all rows as routers see them under some conditions."""
    expected = attrs.evolve(request.expected, cost_usd=request.expected.cost_usd * conditions.price)
    absent = np.broadcast_to(~conditions.available, request.mask.shape)
    why = dict(request.masked_why)
    if absent.any():
        why["unavailable"] = absent | why.get("unavailable", np.False_)
    return attrs.evolve(request, expected=expected, mask=request.mask & ~absent, masked_why=why)
