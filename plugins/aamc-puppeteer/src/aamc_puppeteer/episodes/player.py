"""Plays episodes in parallel: one pass of the policy decides for all running episodes, then their agents work at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import attrs
import numpy as np
from aamc_agents.state import Activation, TaskState, answer
from aamc_agents.tasks import Task, Verdict
from numpy.typing import NDArray

from aamc_puppeteer.episodes.executor import Executor
from aamc_puppeteer.episodes.rewards import EpisodeReward, discounted_returns
from aamc_puppeteer.episodes.trajectory import Stop, Trajectory
from aamc_puppeteer.policy.encoder import Encoder, StateFeatures
from aamc_puppeteer.policy.visibility import Visibility
from aamc_sdk.interfaces import Budget
from aamc_sdk.routing import Array32
from aamc_sdk.types import Floats

Decide = Callable[[StateFeatures, Visibility], Array32]
"""Returns probabilities ``[B, M + 1]``."""


@attrs.frozen(eq=False)
class ActionBatch:
    """The K actions of N episodes.

    Attributes:
        features: Features before each action, K rows.
        visibility: The parts of each state that the policy saw, K rows.
        action: The activated agent, or M to stop, ``[K]``.
        returns: G, ``[K]``.
        step: t - 1, ``[K]``.
        episodes: N.
        propensity: Probability of each action when it was drawn, ``[K]``, for (13); None if the present policy drew them.
    """

    features: StateFeatures
    visibility: Visibility
    action: NDArray[np.intp]
    returns: Floats
    step: NDArray[np.intp]
    episodes: int
    propensity: Floats | None = None

    def take(self, rows: NDArray[np.intp], episodes: int) -> ActionBatch:
        """Return some actions, those of ``episodes`` episodes."""
        return ActionBatch(
            features=self.features.take(rows),
            visibility=self.visibility.take(rows),
            action=self.action[rows],
            returns=self.returns[rows],
            step=self.step[rows],
            episodes=episodes,
            propensity=None if self.propensity is None else self.propensity[rows],
        )


def greedy_actions(probabilities: Array32, _: Array32) -> NDArray[np.intp]:
    """Return the most probable action of each row."""
    return np.asarray(probabilities.argmax(axis=1))


def sampled(probabilities: Array32, uniforms: Array32) -> NDArray[np.intp]:
    """Return an action of each row, drawn by inversion of ``[B]`` uniform numbers: never one of probability 0."""
    cumulative = probabilities.cumsum(axis=1)
    return np.asarray((cumulative > uniforms[:, None] * cumulative[:, -1:]).argmax(axis=1))


@attrs.define(eq=False)
class Running:
    """A running episode; ``path_probability`` is that of its actions by the policy, if it is one of several paths."""

    number: int
    state: TaskState
    stop: Stop | None = None
    costs: list[float] = attrs.field(factory=list)
    probabilities: list[float] = attrs.field(factory=list)
    path_probability: float = 1.0

    def take(self, activation: Activation) -> None:
        """Add an agent's turn."""
        self.state = self.state.after(activation)
        self.costs.append(activation.cost)

    def end_by_choice(self) -> None:
        """End the episode by a decision to stop, which costs nothing."""
        self.stop = Stop.STOPPED
        self.costs.append(0.0)

    def break_off(self, stop: Stop) -> None:
        """End the episode without the action in progress."""
        self.stop = stop
        del self.probabilities[len(self.costs) :]

    def finished(self, verdict: Verdict | None, rule: EpisodeReward) -> Trajectory:
        """Return the finished episode; without a verdict the reward of its last action is NaN."""
        assert self.stop is not None
        rewards = rule.rewards(self.costs, math.nan if verdict is None else rule.outcome(verdict.correct))
        return Trajectory(state=self.state, stop=self.stop, verdict=verdict, probabilities=tuple(self.probabilities), rewards=rewards)

    def check_end(self, budget: Budget, seconds: float) -> None:
        """End the episode if an agent gave the answer or the budget is used up."""
        if self.state.history and self.state.history[-1].answers:
            self.stop = Stop.ANSWERED
        elif self.state.cost >= budget.cost_usd or seconds >= budget.seconds:
            self.stop = Stop.OUT_OF_BUDGET
        elif self.state.steps_left <= 0:
            self.stop = Stop.TRUNCATED


ChooseAgents = Callable[[Sequence[Running]], Sequence[str | None]]
"""Returns the agent to activate in each running episode, or None to stop."""


def begin(number: int, task: Task, steps: int, seed: int) -> Running:
    """Return an episode before its first action; it has already ended if the task has no text or there are no steps."""
    episode = Running(number, TaskState(task=task, steps_left=max(0, steps), seed=seed))
    if not task.text.strip():
        episode.stop = Stop.FAILED
    else:
        episode.check_end(Budget(steps=steps), 0.0)
    return episode


def play_out(episodes: Sequence[Running], choose: ChooseAgents, executor: Executor, rule: EpisodeReward) -> list[Trajectory]:
    """Play episodes to their ends, in parallel; ``choose`` decides for all that run."""
    while running := [episode for episode in episodes if episode.stop is None]:
        turns: list[tuple[Running, str]] = []
        for episode, agent in zip(running, choose(running), strict=True):
            if agent is None:
                episode.end_by_choice()
            else:
                turns.append((episode, agent))
        for (episode, _), activation in zip(turns, executor.activate([(agent, episode.state) for episode, agent in turns]), strict=True):
            episode.take(activation)
            episode.check_end(Budget(), 0.0)
    verdicts = executor.verify([(episode.state.task, answer(episode.state)) for episode in episodes])
    return [episode.finished(verdict, rule) for episode, verdict in zip(episodes, verdicts, strict=True)]


class Player:
    """Plays episodes by a policy with one set of agents, ``names`` in the encoder's order."""

    def __init__(self, encoder: Encoder, executor: Executor, names: Sequence[str], rule: EpisodeReward) -> None:
        self._encoder = encoder
        self.executor = executor
        self.names = tuple(names)
        self.rule = rule

    def play(
        self,
        decide: Decide,
        tasks: Sequence[Task],
        steps: int,
        rng: np.random.Generator,
        *,
        sample: bool = True,
        visibility: Visibility | None = None,
    ) -> tuple[list[Trajectory], ActionBatch]:
        """Play an episode of each of N tasks, in parallel; return the episodes, and their actions with the returns (4).

        Unless ``sample``, the most probable actions are taken. By default all is visible.
        """
        visible = visibility or Visibility.full(len(tasks), len(self.names))
        seeds = rng.integers(2**62, size=len(tasks))
        episodes = [begin(number, task, steps, int(seeds[number])) for number, task in enumerate(tasks)]
        taken: list[tuple[int, int, int]] = []  # of each action its episode, step and number
        seen: list[StateFeatures] = []

        def choose(running: Sequence[Running]) -> list[str | None]:
            rows = [episode.number for episode in running]
            seen_now = visible.take(rows)
            features = self._encoder.encode([episode.state for episode in running], seen_now.present)
            probabilities = decide(features, seen_now)
            uniforms = rng.random(len(tasks), np.float32)[rows]
            actions = (sampled if sample else greedy_actions)(probabilities, uniforms).tolist()
            for place, (episode, action) in enumerate(zip(running, actions, strict=True)):
                taken.append((episode.number, len(episode.costs), action))
                episode.probabilities.append(float(probabilities[place, action]))
            seen.append(features)
            return [self.names[action] if action < len(self.names) else None for action in actions]

        trajectories = play_out(episodes, choose, self.executor, self.rule)
        returns = [discounted_returns(trajectory.rewards, self.rule.discount) for trajectory in trajectories]
        drawn, step, action = np.array(taken, np.intp).reshape(-1, 3).T
        nothing = StateFeatures(np.zeros((0, 0), np.float32), np.zeros((0, 0, 0), np.float32))
        return trajectories, ActionBatch(
            features=StateFeatures.concatenate(seen) if seen else nothing,
            visibility=visible.take(drawn),
            action=action,
            returns=np.array([returns[episode][place] for episode, place, _ in taken], np.float64),
            step=step,
            episodes=len(trajectories),
        )
