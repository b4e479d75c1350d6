"""Runs agents and verifiers. A failure becomes a typed fault, and never ends the episode."""

from __future__ import annotations

import asyncio
import inspect
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import attrs
import numpy as np
from aamc_agents.state import Activation, Fault, TaskState
from aamc_agents.tasks import Task, Verdict, Verifier

from aamc_puppeteer.episodes.output_checks import MAX_COST_USD, as_text, checked, cost_of, failed, public_error_text, short_error_text, visible_state
from aamc_puppeteer.episodes.spans import traced
from aamc_puppeteer.episodes.trajectory import STOP
from aamc_puppeteer.episodes.worker_threads import Cancellation, WorkerThreads
from aamc_sdk import Agent, Candidate, Pool
from aamc_sdk.errors import AamcError, PoolError
from aamc_sdk.serving import counted_calls


def pool_of(agents: Sequence[Agent]) -> Pool:
    """Return the candidates of agents, in their order; raise PoolError for no agent, for names that are not unique, or for another object."""
    if not agents:
        raise PoolError("there is no agent; name at least one, such as calculator")
    for agent in agents:
        if isinstance(agent, Agent) and not isinstance(getattr(agent, "spec", None), Candidate):
            raise PoolError(f"{agent.message_name} has no spec; give its class one, such as spec = Candidate(NAME, DESCRIPTION)")
        if not isinstance(getattr(agent, "spec", None), Candidate):
            raise PoolError(f"an agent is derived from aamc_sdk.Agent, or the name of one that a plugin offers; {agent!r:.80} is neither")
    twice = [name for name, times in Counter(agent.spec.name for agent in agents).items() if times > 1]
    if twice:
        raise PoolError(f"agents' names must be unique; two are called {twice[0]!r}")
    pool = Pool(agent.spec for agent in agents)
    if STOP in pool.names:
        raise PoolError(f"no agent may be named {STOP!r}: that is the policy's decision to end an episode; rename it")
    return pool


_MAX_CACHED = 200_000


class OutOfBudgetError(AamcError):
    """Raised when agents have spent their budget in money."""


class Executor:
    """Runs the turns of agents, all turns of one call in parallel.

    Each agent has a thread. If an agent blocks it past the timeout, the thread is abandoned and the agent gets a new one.

    Args:
        agents: The agents by name.
        timeout: Timeout of a turn, and of a verification, in seconds.
        max_characters: Maximum characters of an output; the rest is cut off, and ``metadata["cut"]`` has the full length.
        max_cost: Maximum cost of a turn; a higher one is a fault.

    Attributes:
        spent_usd: Cost of the turns and verdicts so far; a cached output costs nothing again.
        budget_usd: Maximum of ``spent_usd``. A turn starts only if the rest covers its maximum cost; one whose maximum is unknown runs alone,
            and so does each verifier's first verdict. Others start only if the rest covers each at its verifier's highest cost so far.
    """

    def __init__(self, agents: Mapping[str, Agent], timeout: float, max_characters: int, max_cost: float = MAX_COST_USD) -> None:
        self._agents = dict(agents)
        self._timeout = timeout
        self._max_characters = max_characters
        self._max_cost = max_cost
        self._threads = WorkerThreads()
        self._cache: dict[Any, Activation] = {}
        self._max_verdict_usd: dict[Any, float] = {}
        self.spent_usd = 0.0
        self.budget_usd = math.inf

    def activate(
        self, turns: Sequence[tuple[str, TaskState]], timeout: float | None = None, cancellation: Cancellation | None = None
    ) -> list[Activation]:
        """Run turns in parallel and return their activations; outputs of deterministic agents are cached.

        Args:
            turns: The agent's name and its state.
            timeout: Timeout in seconds if it is below the executor's; at 0 no agent is called.
            cancellation: Gets the turns in progress, to end them from another thread.

        Raises:
            OutOfBudgetError: The rest of the budget does not cover all turns.
        """
        limit = min(self._timeout, math.inf if timeout is None else timeout)
        keys = [self._key(name, state) for name, state in turns]
        done = [self._cache.get(key) if key is not None else None for key in keys]
        missing = [place for place, activation in enumerate(done) if activation is None]
        while missing:
            covered = self._covered([turns[place] for place in missing])
            places, missing = missing[:covered], missing[covered:]
            for place, activation in zip(places, self._activated([turns[place] for place in places], limit, cancellation), strict=True):
                self.spent_usd += activation.cost
                done[place] = activation
                key = keys[place]
                if key is not None and activation.fault is not Fault.TIMEOUT:
                    if len(self._cache) >= _MAX_CACHED:
                        self._cache.clear()
                    self._cache[key] = activation
        return [activation for activation in done if activation is not None]

    def activate_here(self, name: str, state: TaskState) -> Activation:
        """Run the turn of an agent that awaits nothing in the calling thread, without a timeout."""
        try:
            traced(name, state, partial(self._turn, [])).send(None)
        except StopIteration as ended:
            activation: Activation = ended.value
            return activation
        raise RuntimeError(f"agent {name!r} awaits something; run it with activate or aactivate")

    async def aactivate(self, name: str, state: TaskState, timeout: float) -> Activation:
        """Run an agent's turn in the running event loop, for at most ``timeout`` seconds."""
        costs: list[float] = []
        turn = asyncio.ensure_future(traced(name, state, partial(self._turn, costs)))
        try:
            done, _ = await asyncio.wait([turn], timeout=timeout)
        finally:
            turn.cancel()
        return turn.result() if done else failed(name, Fault.TIMEOUT, f"gave no answer in {timeout:g} s", timeout, sum(costs))

    def verify(self, answers: Sequence[tuple[Task, str | None]]) -> list[Verdict | None]:
        """Return the verdict on each answer; None for a task without a verifier.

        Raises:
            OutOfBudgetError: The rest of the budget does not cover all verdicts, each at the highest cost of its verifier so far.
        """
        given = {place: (task, answer) for place, (task, answer) in enumerate(answers) if task.verifier is not None and answer is not None}
        kinds = {place: _kind(task.verifier) for place, (task, _) in given.items()}
        waiting, found = list(given), dict[int, Verdict | None]()
        while waiting:
            unknown = [place for place in waiting if kinds[place] not in self._max_verdict_usd]
            alone = unknown[:1] if math.isfinite(self.budget_usd) else []  # the cost of a verifier's first verdict tells that of the others
            batch = alone or waiting
            waiting = [place for place in waiting if place not in batch]
            reserved = sum(self._max_verdict_usd.get(kinds[place], 0.0) for place in batch)
            if reserved > max(self.budget_usd * (1 + 1e-9) - self.spent_usd, 0.0):
                verdicts = f"{len(batch)} verdicts may cost {reserved:.4g}"
                raise OutOfBudgetError(f"the budget of {self.budget_usd:g} USD is spent ({self.spent_usd:.4g} USD, and {verdicts})")
            costs: list[list[float]] = [[] for _ in batch]
            jobs = [("verifiers", partial(_verify, own, *given[place])) for place, own in zip(batch, costs, strict=True)]
            for place, ended, own in zip(batch, self._threads.run(jobs, self._timeout), costs, strict=True):
                found[place], succeeded = ended or (None, False)
                cost = sum(own) if ended is None else ended[0].cost
                self.spent_usd += cost
                if succeeded or cost:  # a failure may have come before the paid call
                    self._max_verdict_usd[kinds[place]] = max(self._max_verdict_usd.get(kinds[place], 0.0), cost)
        late = Verdict(False, f"the verifier gave no verdict in {self._timeout:g} s")
        nothing = Verdict(False, "there is no answer")
        return [None if task.verifier is None else (found[place] or late) if place in found else nothing for place, (task, _) in enumerate(answers)]

    def close(self) -> None:
        """End the threads."""
        self._threads.close()

    def _covered(self, turns: Sequence[tuple[str, TaskState]]) -> int:
        """Return how many of these turns, from the first, may run in parallel within the rest of the budget."""
        if math.isinf(self.budget_usd):
            return len(turns)
        costs = np.array([cost if math.isfinite(cost := self._agents[name].max_cost_usd_in(state)) else math.inf for name, state in turns])
        rest = self.budget_usd * (1 + 1e-9) - self.spent_usd
        covered = int((np.cumsum(costs) <= rest).sum()) or int(math.isinf(costs[0]) and rest > 0)
        if not covered:
            further = f", and a turn of {turns[0][0]!r} may cost {costs[0]:.4g}" if math.isfinite(costs[0]) else ""
            raise OutOfBudgetError(f"the budget of {self.budget_usd:g} USD is spent ({self.spent_usd:.4g} USD{further})")
        return covered

    def _activated(self, turns: Sequence[tuple[str, TaskState]], limit: float, cancellation: Cancellation | None) -> list[Activation]:
        """Run turns in parallel, each for at most ``limit`` seconds; at 0 none is called."""
        costs: list[list[float]] = [[] for _ in turns]
        jobs = [
            (f"agent {name}", partial(traced, name, state, partial(self._turn, own)))
            for (name, state), own in zip(turns, costs, strict=True)
            if limit > 0
        ]
        ended = self._threads.run(jobs, limit, cancellation) if jobs else [None] * len(turns)
        late = f"gave no answer in {limit:g} s"
        return [
            activation or failed(name, Fault.TIMEOUT, late, limit, sum(own)) for (name, _), activation, own in zip(turns, ended, costs, strict=True)
        ]

    def _key(self, name: str, state: TaskState) -> Any:
        """Return the key of a turn in the cache; None unless the agent gives the same output for the same task and history."""
        if getattr(self._agents[name], "deterministic", False) is not True:
            return None
        said = tuple(activation.fault if activation.output is None else activation.output.content for activation in state.history)
        return name, state.task, tuple(activation.agent for activation in state.history), said

    async def _turn(self, costs: list[float], name: str, state: TaskState) -> Activation:
        """Run a turn, which costs at least its calls of models, whether the agent reports them or not; ``costs`` gets those of the calls."""
        began = time.perf_counter()
        output: object = None
        try:
            with counted_calls(costs):
                output = await _result(self._agents[name].execute(visible_state(state)))
            done = checked(name, output, time.perf_counter() - began, self._max_characters, self._max_cost)
            return done if sum(costs) <= done.cost else attrs.evolve(done, cost=sum(costs))
        except BaseException as error:  # an agent, and the object it returns, may raise anything
            cost = max(cost_of(error), cost_of(output), sum(costs))
            fault = Fault.TIMEOUT if isinstance(error, TimeoutError | asyncio.TimeoutError) else Fault.RAISED
            return failed(name, fault, short_error_text(error), time.perf_counter() - began, cost, public_error_text(name, error))


async def _result(value: Any) -> Any:
    """Return a value, awaited if necessary."""
    return await value if inspect.isawaitable(value) else value


def _kind(verifier: Verifier | None) -> Any:
    """Return the key of a verifier's costs: equal verifiers share them."""
    try:
        hash(verifier)
    except TypeError:
        return id(verifier)
    return verifier


async def _verify(costs: list[float], task: Task, answer: str) -> tuple[Verdict, bool]:
    """Return the verdict, and whether the verifier succeeded; ``costs`` gets those of its calls of models."""
    assert task.verifier is not None
    try:
        with counted_calls(costs):
            verdict = await _result(task.verifier(task, answer))
        if not isinstance(verdict, Verdict):
            return Verdict(False, f"the verifier must return a Verdict, not {type(verdict).__name__}"), False
        return Verdict(bool(verdict.correct), as_text(str(verdict.why)), cost_of(verdict)), True
    except BaseException as error:  # a verifier may raise anything
        return Verdict(False, f"the verifier raised {short_error_text(error)}", cost_of(error)), False
