"""Served episodes in the decision log: each decision with the state that it was made in, and its agent's turn as an attempt.

The task is the query's text, the turns so far are its turns, and the decision's notes have their costs and faults. Files and documents of
the task are not logged: the policy does not see them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs
from aamc_agents.state import Activation, Fault, TaskState
from aamc_agents.tasks import Task

from aamc_puppeteer.episodes.trajectory import STOP
from aamc_sdk.interfaces import AgentOutput
from aamc_sdk.types import Attempt, Decision, Query, Record, Turn


def logged(decisions: Sequence[Decision], state: TaskState, names: Iterable[str]) -> tuple[list[Record], list[Attempt]]:
    """Return the log's entries for an episode along one path, with its decisions in order, its last state and the names of the agents."""
    candidates = (*names, STOP)
    history, steps = state.history, len(state.history) + state.steps_left
    records = [_record(decision, attrs.evolve(state, history=history[:n], steps_left=steps - n), candidates) for n, decision in enumerate(decisions)]
    attempts = [
        Attempt(decision.id, n=0, candidate=turn.agent, cost_usd=turn.cost, latency_ms=1000 * turn.seconds, error=turn.error)
        for decision, turn in zip(decisions, history, strict=False)
    ]
    return records, attempts


def _record(decision: Decision, state: TaskState, candidates: tuple[str, ...]) -> Record:
    faults = [turn.fault and turn.fault.value for turn in state.history]
    notes = {"steps_left": state.steps_left, "costs": [turn.cost for turn in state.history], "faults": faults}
    turns = [Turn("assistant", "" if turn.output is None else turn.text, turn.agent) for turn in state.history]
    return Record.of_step(attrs.evolve(decision, notes={**decision.notes, **notes}), Query(state.task.text, turns=turns), candidates)


def state_of(record: Record) -> TaskState:
    """Return the state in which a logged decision was made.

    Raises:
        KeyError: It is no decision of an episode.
    """
    decision, query = record.decision, record.query
    turns = zip(query.turns, decision.notes["costs"], decision.notes["faults"], strict=True)
    history = tuple(
        Activation(agent=str(turn.model), cost=cost, **({"output": AgentOutput(turn.content, cost)} if fault is None else {"fault": Fault(fault)}))
        for turn, cost, fault in turns
    )
    return TaskState(task=Task(id=decision.episode or "", text=query.text), history=history, steps_left=decision.notes["steps_left"])
