"""Plays episodes side by side: one pass of the policy decides for all that are running, then their agents work at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_puppeteer.encoder import Encoder, Features
from aamc_puppeteer.executing import Executor
from aamc_puppeteer.rewards import RewardRule
from aamc_puppeteer.state import Activation, Stop, TaskState, Trajectory, answer
from aamc_puppeteer.tasks import Task, Verdict
from aamc_sdk.features import Array32
from aamc_sdk.interfaces import Budget

Decide = Callable[[Features, Array32, NDArray[np.bool_]], Array32]
"""Returns probabilities ``[B, M + 1]`` from features, what is told ``[B, M + 1, 2]`` and the agents that are there ``[B, M]``."""


@attrs.frozen(eq=False)
class Choice:
    """One action: its episode, its number from 0, what was seen, and what was drawn with which probability."""

    episode: int
    step: int
    features: Features
    action: int
    probability: float


@attrs.frozen(eq=False)
class Played:
    """Finished episodes, and the actions that were drawn in them."""

    trajectories: list[Trajectory]
    choices: list[Choice]


def greatest(probabilities: Array32, _: Array32) -> NDArray[np.intp]:
    """Return the most probable action of each row."""
    return np.asarray(probabilities.argmax(axis=1))


def sampled(probabilities: Array32, uniforms: Array32) -> NDArray[np.intp]:
    """Return an action of each row, drawn by inversion of ``[B]`` uniform numbers: never one of probability 0."""
    cumulative = probabilities.cumsum(axis=1)
    return np.asarray((cumulative > uniforms[:, None] * cumulative[:, -1:]).argmax(axis=1))


@attrs.define(eq=False)
class Running:
    """An episode that is being played."""

    number: int
    state: TaskState
    stop: Stop | None = None
    costs: list[float] = attrs.field(factory=list)
    probabilities: list[float] = attrs.field(factory=list)

    def take(self, activation: Activation) -> None:
        """Add an agent's turn."""
        self.state = self.state.after(activation)
        self.costs.append(activation.cost)

    def end_by_choice(self) -> None:
        """End the episode by the decision to stop, which costs nothing."""
        self.stop = Stop.STOPPED
        self.costs.append(0.0)

    def finished(self, verdict: Verdict | None, rule: RewardRule) -> Trajectory:
        """Return the episode as it ended."""
        assert self.stop is not None
        rewards = rule.rewards(self.costs, rule.outcome(verdict is not None and verdict.correct))
        return Trajectory(state=self.state, stop=self.stop, verdict=verdict, probabilities=tuple(self.probabilities), rewards=rewards)

    def check_end(self, budget: Budget, seconds: float) -> None:
        """End the episode where an agent answered, or something is used up."""
        if self.state.history and self.state.history[-1].answers:
            self.stop = Stop.ANSWERED
        elif self.state.cost >= budget.cost_usd or seconds >= budget.seconds:
            self.stop = Stop.OUT_OF_BUDGET
        elif self.state.steps_left <= 0:
            self.stop = Stop.TRUNCATED


class Player:
    """Plays episodes with one set of agents.

    Args:
        encoder: Of the agents.
        executor: Of the agents.
        names: The agents' names, in the encoder's order.
        rule: How episodes are paid.
    """

    def __init__(self, encoder: Encoder, executor: Executor, names: Sequence[str], rule: RewardRule) -> None:
        self._encoder = encoder
        self._executor = executor
        self._names = tuple(names)
        self._rule = rule

    def play(
        self,
        decide: Decide,
        tasks: Sequence[Task],
        steps: int,
        rng: np.random.Generator,
        *,
        sample: bool = True,
        told: Array32 | None = None,
        there: NDArray[np.bool_] | None = None,
    ) -> Played:
        """Play an episode of each task, all side by side.

        Args:
            decide: The policy.
            tasks: N of them.
            steps: Most activations of an episode.
            rng: All randomness.
            sample: Whether actions are drawn; else the most probable ones are taken.
            told: Whether the policy is told each name and description, and last its stop head the task, ``[N, M + 1, 2]``; all when None.
            there: Agents that can be activated, ``[N, M]``; all when None.
        """
        agents = len(self._names)
        told = np.ones((len(tasks), agents + 1, 2), np.float32) if told is None else told
        there = np.ones((len(tasks), agents), bool) if there is None else there
        budget = Budget(steps=steps)
        luck = rng.integers(2**62, size=len(tasks))
        episodes = [begin(number, task, steps, int(luck[number])) for number, task in enumerate(tasks)]
        choices: list[Choice] = []
        while running := [episode for episode in episodes if episode.stop is None]:
            rows = [episode.number for episode in running]
            features = self._encoder.encode([episode.state for episode in running])
            probabilities = decide(features, told[rows], there[rows])
            uniforms = rng.random(len(tasks), np.float32)[rows]
            actions = (sampled if sample else greatest)(probabilities, uniforms)
            for place, (episode, action) in enumerate(zip(running, actions.tolist(), strict=True)):
                seen = Features(features.state[place : place + 1], features.pair[place : place + 1])
                probability = float(probabilities[place, action])
                choices.append(Choice(episode.number, len(episode.costs), seen, action, probability))
                episode.probabilities.append(probability)
            self._act(running, actions.tolist(), budget)
        return Played(self._finish(episodes), choices)

    def _act(self, running: Sequence[Running], actions: Sequence[int], budget: Budget) -> None:
        """Carry out one action of each episode."""
        stopping = [episode for episode, action in zip(running, actions, strict=True) if action == len(self._names)]
        for episode in stopping:
            episode.end_by_choice()
        going_on = [(episode, self._names[action]) for episode, action in zip(running, actions, strict=True) if action < len(self._names)]
        done = self._executor.activate([(name, episode.state) for episode, name in going_on])
        for (episode, _), activation in zip(going_on, done, strict=True):
            episode.take(activation)
            episode.check_end(budget, 0.0)

    def _finish(self, episodes: Sequence[Running]) -> list[Trajectory]:
        verdicts = self._executor.verify([(episode.state.task, answer(episode.state)) for episode in episodes])
        return [episode.finished(verdict, self._rule) for episode, verdict in zip(episodes, verdicts, strict=True)]


def begin(number: int, task: Task, steps: int, luck: int) -> Running:
    """Return an episode before its first action; without text or steps there is none."""
    episode = Running(number, TaskState(task=task, steps_left=max(0, steps), luck=luck))
    if not task.text.strip():
        episode.stop = Stop.FAILED
    else:
        episode.check_end(Budget(steps=steps), 0.0)
    return episode
