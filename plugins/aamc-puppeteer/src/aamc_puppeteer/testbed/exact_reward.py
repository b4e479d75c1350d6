"""The exact expected reward of a policy in a small world, differentiable: what the sampled gradient is checked against."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from aamc_agents.state import TaskState
from torch import Tensor

from aamc_puppeteer.policy.encoder import Encoder, Features
from aamc_puppeteer.testbed.worlds import Kind, SimulatedWorld, standing, turn

LogProbabilities = Callable[[Features], Tensor]
"""Returns a policy's log probabilities ``[B, M + 1]``."""


def expected_reward(world: SimulatedWorld, encoder: Encoder, log_probabilities: LogProbabilities) -> Tensor:
    """Return J, the expected discounted reward of an episode, summed over every history that can happen.

    Their number grows as (agents times outcomes) to the power of steps: for worlds of a few of each.
    """
    return torch.stack([_value(world, kind, encoder, log_probabilities) for kind in world.kinds]).mean()


def _value(world: SimulatedWorld, kind: Kind, encoder: Encoder, log_probabilities: LogProbabilities) -> Tensor:
    task = next(task for task in world.tasks(len(world.kinds)) if task.kind == kind.name)
    return _of_histories(world, kind, encoder, log_probabilities, [TaskState(task=task, steps_left=world.steps)])[0]


def _of_histories(world: SimulatedWorld, kind: Kind, encoder: Encoder, log_probabilities: LogProbabilities, states: Sequence[TaskState]) -> Tensor:
    """Return the value of each of some states that have had the same number of turns."""
    rule, number, left = world.rule, len(states[0].history) + 1, states[0].steps_left
    probabilities = log_probabilities(encoder.encode(states)).exp()
    worths = torch.tensor([_worth(world, kind, state) for state in states])
    values = probabilities[:, -1] * (worths - rule.charge(number, 0.0))
    for place, agent in enumerate(world.agents):
        branches = [
            (row, state.after(turn(agent, kind, then)), chance)
            for row, state in enumerate(states)
            for then, chance in _outcomes(kind, state, agent.name)
        ]
        following = [state for _, state, _ in branches]
        if left == 1:
            later = torch.tensor([_worth(world, kind, state) for state in following])
        else:
            later = rule.discount * _of_histories(world, kind, encoder, log_probabilities, following)
        chances = torch.tensor([chance for _, _, chance in branches])
        rows = torch.tensor([row for row, _, _ in branches])
        expected = torch.zeros(len(states)).index_add(0, rows, chances * later)
        values = values + probabilities[:, place] * (expected - rule.charge(number, agent.cost))
    return values


def _outcomes(kind: Kind, state: TaskState, agent: str) -> list[tuple[str, float]]:
    return list(kind.following(standing(state, kind), agent).items())


def _worth(world: SimulatedWorld, kind: Kind, state: TaskState) -> float:
    chance = kind.solved.get(standing(state, kind), 0.0) if state.outputs else 0.0
    return world.rule.failure + (world.rule.success - world.rule.failure) * chance
