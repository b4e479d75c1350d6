"""Runs agents and verifiers so that nothing they do harms an episode: whatever goes wrong becomes a typed fault."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import Future, wait
from typing import Any, TypeVar

from aamc_puppeteer.checking import as_text, checked, cost_of, failed, in_words, view
from aamc_puppeteer.lanes import Lane
from aamc_puppeteer.state import Activation, Fault, TaskState
from aamc_puppeteer.tasks import Task, Verdict
from aamc_puppeteer.tracing import traced
from aamc_sdk.interfaces import Agent

T = TypeVar("T")
_GRACE = 0.25
"""Seconds after its timeout in which a turn may end by itself, before its lane counts as blocked."""
_MOST_REMEMBERED = 200_000


def deterministic(agent: Agent) -> bool:
    """Return whether an agent promises the same output for the same task and history, so that training may remember it."""
    return getattr(agent, "deterministic", False) is True


class Executor:
    """Runs agents' turns, those of one call side by side.

    Each agent has a lane of its own. One that blocks it past the timeout loses the lane, which is left behind.

    Args:
        agents: By name.
        timeout: Seconds of one turn, and of one verification.
        max_characters: Of an output that are kept; the rest is cut off, and ``metadata["cut"]`` says how long it was.
    """

    def __init__(self, agents: Mapping[str, Agent], timeout: float, max_characters: int) -> None:
        self._agents = dict(agents)
        self._timeout = timeout
        self._max_characters = max_characters
        self._lanes: dict[str, Lane] = {}
        self._remembered: dict[Any, Activation] = {}

    def activate(self, turns: Sequence[tuple[str, TaskState]], timeout: float | None = None) -> list[Activation]:
        """Return what came of each agent's turn on a state, side by side; deterministic agents are asked once.

        Args:
            turns: The agent's name and the state that it gets.
            timeout: Seconds, where they are fewer than the executor's; with none left nobody is asked.
        """
        limit = min(self._timeout, math.inf if timeout is None else timeout)
        keys = [self._key(name, state) for name, state in turns]
        done = [self._remembered.get(key) if key is not None else None for key in keys]
        missing = [place for place, activation in enumerate(done) if activation is None]
        jobs = [(f"agent {turns[place][0]}", traced(*turns[place], self._turn)) for place in missing if limit > 0]
        for place, activation in zip(missing, self._run(jobs, limit) if jobs else [None] * len(missing), strict=True):
            activation = activation or failed(turns[place][0], Fault.TIMEOUT, f"gave no answer in {limit:g} s", limit)
            done[place] = activation
            key = keys[place]
            if key is not None and activation.fault is not Fault.TIMEOUT:
                self._remember(key, activation)
        return [activation for activation in done if activation is not None]

    def verify(self, answers: Sequence[tuple[Task, str | None]]) -> list[Verdict | None]:
        """Return each task's verdict on an answer; None where the task has no verifier."""
        jobs = {
            place: ("verifiers", _verify(task, answer))
            for place, (task, answer) in enumerate(answers)
            if task.verifier is not None and answer is not None
        }
        found = dict(zip(jobs, self._run(list(jobs.values()), self._timeout), strict=True))
        late = Verdict(False, f"the verifier gave no verdict in {self._timeout:g} s")
        nothing = Verdict(False, "there is no answer")
        return [None if task.verifier is None else (found[place] or late) if place in found else nothing for place, (task, _) in enumerate(answers)]

    def close(self) -> None:
        """End the threads."""
        for lane in self._lanes.values():
            lane.close()
        self._lanes.clear()

    def _key(self, name: str, state: TaskState) -> Any:
        if not deterministic(self._agents[name]):
            return None
        said = tuple(activation.fault if activation.output is None else activation.output.content for activation in state.history)
        return name, state.task, tuple(activation.agent for activation in state.history), said

    def _remember(self, key: Any, activation: Activation) -> None:
        if len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[key] = activation

    def _run(self, jobs: Sequence[tuple[str, Coroutine[Any, Any, T]]], limit: float) -> list[T | None]:
        """Run each coroutine in the lane that is named with it; None for one that took too long."""
        results: list[T | None] = [None] * len(jobs)
        of_lane: dict[str, list[int]] = {}
        for place, (name, _) in enumerate(jobs):
            of_lane.setdefault(name, []).append(place)
        futures: dict[str, Future[list[T | None]]] = {}
        for name, places in of_lane.items():
            lane = self._lanes.get(name)
            if lane is None or not lane.open:
                lane = self._lanes[name] = Lane(name)
            futures[name] = lane.submit([jobs[place][1] for place in places], limit)
        wait(futures.values(), limit + _GRACE)
        for name, future in futures.items():
            if future.done() and not future.cancelled():
                for place, result in zip(of_lane[name], future.result(), strict=True):
                    results[place] = result
            else:
                self._lanes.pop(name).abandon()
        return results

    async def _turn(self, name: str, state: TaskState) -> Activation:
        began = time.perf_counter()
        output: object = None
        try:
            output = await _result(self._agents[name].execute(view(state)))
            return checked(name, output, time.perf_counter() - began, self._max_characters)
        except BaseException as error:  # an agent may raise anything, and so may what it returns
            cost = max(cost_of(error), cost_of(output))
            return failed(name, Fault.RAISED, in_words(error), time.perf_counter() - began, cost)


async def _result(value: Any) -> Any:
    """Return what an agent returned, also where it is no coroutine."""
    return await value if inspect.isawaitable(value) else value


async def _verify(task: Task, answer: str) -> Verdict:
    assert task.verifier is not None
    try:
        verdict = await _result(task.verifier(task, answer))
        if not isinstance(verdict, Verdict):
            return Verdict(False, f"the verifier must return a Verdict, not {type(verdict).__name__}")
        return Verdict(bool(verdict.correct), as_text(str(verdict.why)))
    except BaseException as error:  # a verifier may raise anything
        return Verdict(False, f"the verifier raised {in_words(error)}")
