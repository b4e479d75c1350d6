"""Small worlds with a known optimum: tables define the effect of agents on tasks, and dynamic programming solves them.

A world has agents with costs, and kinds of tasks. A kind is a Markov decision process: an agent's turn moves a task from one
named state to another with some probability, and its output names the new state. In each state the answer is correct with
some probability. The policy sees the outputs, never the tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from aamc_agents.state import Activation, TaskState
from aamc_agents.tasks import Task, Verdict

from aamc_puppeteer.config import REWARD_OPTIONS
from aamc_puppeteer.episodes.rewards import EpisodeReward, discounted_returns
from aamc_puppeteer.episodes.trajectory import Trajectory
from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import Agent, AgentOutput
from aamc_sdk.messages import one_of
from aamc_sdk.routing import uniform
from aamc_sdk.types import Candidate

if TYPE_CHECKING:
    from aamc_puppeteer.orchestrator import Puppeteer

_RULE = EpisodeReward(cost_weight=0.1, step_factor=0.1)
_STATE = "state"
"""Metadata key of the state in which an output left the task, for the world's other agents."""


@attrs.frozen(kw_only=True)
class Kind:
    """A kind of task.

    Attributes:
        name: Its name.
        text: The task's text, by which a policy first distinguishes kinds. ``{number}`` becomes another number in each task.
        start: The first state.
        moves: Probability of each next state, by state and agent; other agents change nothing.
        solved: Probability that the answer is correct, by state (default: 0). It is 0 in the first state, which has no answer.
        says: Output that leaves the task in a state (default: the state's name). Outputs of states differ.
    """

    name: str
    text: str
    start: str = "start"
    moves: Mapping[tuple[str, str], Mapping[str, float]] = attrs.field(factory=dict)
    solved: Mapping[str, float] = attrs.field(factory=dict)
    says: Mapping[str, str] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        for (state, agent), next_states in self.moves.items():
            if any(chance < 0 for chance in next_states.values()) or abs(sum(next_states.values()) - 1) > 1e-9:
                raise ConfigError(f"{self.name}: what {agent!r} does in state {state!r} needs probabilities that sum to 1, not {dict(next_states)!r}")
        if self.solved.get(self.start):
            raise ConfigError(f"{self.name}: state {self.start!r} cannot be solved, as there is no answer at the start; move to another state")
        said = [self.said(state) for state in self.states]
        if len(set(said)) < len(said):
            raise ConfigError(f"{self.name}: states must say different things, as the answer tells the state; they say {one_of(said)}")

    @property
    def states(self) -> frozenset[str]:
        """All named states."""
        reached = {state for next_states in self.moves.values() for state in next_states}
        return frozenset({self.start, *(state for state, _ in self.moves), *reached, *self.solved})

    def next_states(self, state: str, agent: str) -> Mapping[str, float]:
        """Return the probability of each next state after an agent's turn."""
        return self.moves.get((state, agent), {state: 1.0})

    def said(self, state: str) -> str:
        """Return the output that leaves a task in a state."""
        return self.says.get(state, state)


@attrs.frozen(kw_only=True)
class WorldAgent:
    """An agent of a world: its name, its description, and the cost of a turn."""

    name: str
    description: str = ""
    cost: float = 0.0


@attrs.frozen(kw_only=True)
class AgentWorld:
    """Agents and kinds of tasks, each kind equally frequent.

    Attributes:
        agents: The agents.
        kinds: The kinds of tasks.
        steps: Maximum number of activations in an episode.
        rule: The reward of an episode: (1) or (3), as (2) depends on more than the state. The default suits costs of about 1.
    """

    agents: tuple[WorldAgent, ...] = attrs.field()
    kinds: tuple[Kind, ...] = attrs.field()
    steps: int = 8
    rule: EpisodeReward = _RULE

    def __attrs_post_init__(self) -> None:
        names = {agent.name for agent in self.agents}
        unknown = {agent for kind in self.kinds for _, agent in kind.moves} - names
        if unknown:
            raise ConfigError(f"moves name agents that the world does not have: {one_of(unknown)} (it has {one_of(names)})")
        if self.rule.name == "total":
            raise ConfigError("the optimum of reward 'total' cannot be computed by state; use 'step' or 'log'")

    @classmethod
    def of_table(cls, success: Mapping[str, Mapping[str, float]], costs: Mapping[str, float], **options: Any) -> AgentWorld:
        """Return a world in which one good turn is enough.

        Args:
            success: Probability of a correct answer, by kind and agent.
            costs: Cost of a turn, by agent.
            **options: Other attributes.
        """
        kinds = tuple(
            Kind(
                name=kind,
                text=f"A task about {kind}.",
                moves={(state, agent): {agent: 1.0} for agent in costs for state in ("start", *costs)},
                solved=row,
                says={agent: f"{agent} gave an answer" for agent in costs},
            )
            for kind, row in success.items()
        )
        agents = tuple(WorldAgent(name=name, description=f"The agent {name}.", cost=cost) for name, cost in costs.items())
        return cls(agents=agents, kinds=kinds, **options)

    @property
    def options(self) -> dict[str, Any]:
        """The options of a puppeteer in this world: steps and rewards."""
        return {"max_steps": self.steps, **{name: getattr(self.rule, field) for name, field in REWARD_OPTIONS.items()}}

    def members(self) -> list[Agent]:
        """Return the agents."""
        kinds = {kind.name: kind for kind in self.kinds}
        return [_Member(agent, kinds) for agent in self.agents]

    def puppeteer(self, *, seed: int = 0, **options: Any) -> Puppeteer:
        """Return an untrained puppeteer of the agents, with the world's steps and rewards, and other options of ``puppeteer``."""
        from aamc_puppeteer.orchestrator import Puppeteer

        return Puppeteer.of(self.members(), seed=seed, **{**self.options, **options})

    def tasks(self, count: int, seed: int = 0) -> list[Task]:
        """Return tasks of all kinds in turn."""
        made: list[Task] = []
        for number in range(count):
            kind = self.kinds[number % len(self.kinds)]
            name = f"{kind.name}-{number}"
            drawn = round(10 + 990 * uniform(seed, f"number of {name}"))
            made.append(Task(id=name, text=kind.text.replace("{number}", str(drawn)), kind=kind.name, verifier=_Chance(kind, seed)))
        return made

    @property
    def optimum(self) -> float:
        """The maximum expected discounted reward of an episode, by dynamic programming over states and steps left."""
        values = [self._solve(kind)[kind.start, self.steps] for kind in self.kinds]
        return sum(values) / len(values)

    def share_of_optimum(self, trajectories: Sequence[Trajectory]) -> float:
        """Return the mean discounted reward of episodes over the optimum; kinds must be equally frequent."""
        return float(np.mean([discounted_returns(trajectory.rewards, self.rule.discount)[0] for trajectory in trajectories])) / self.optimum

    def _solve(self, kind: Kind) -> Mapping[tuple[str, int], float]:
        """Return the value of each state and number of steps left, by Bellman's equation."""
        rule = self.rule
        states = kind.states
        worth = {state: rule.failure + (rule.success - rule.failure) * kind.solved.get(state, 0.0) for state in states}
        solved: dict[tuple[str, int], float] = {}
        for left in range(self.steps + 1):
            number = self.steps - left + 1
            for state in states:
                options = [worth[state] - (rule.charge(number, 0.0) if left else 0.0)]  # of stopping
                for agent in self.agents if left else ():
                    later = {then: worth[then] if left == 1 else rule.discount * solved[then, left - 1] for then in states}
                    expected = sum(chance * later[then] for then, chance in kind.next_states(state, agent.name).items())
                    options.append(expected - rule.charge(number, agent.cost))
                solved[state, left] = max(options)
        return solved


def standing(state: TaskState, kind: Kind) -> str:
    """Return the present state of a task of a world."""
    return str(state.outputs[-1].metadata[_STATE]) if state.outputs else kind.start


def turn(agent: WorldAgent, kind: Kind, then: str) -> Activation:
    """Return a turn that left the task in state ``then``."""
    return Activation(agent=agent.name, output=AgentOutput(kind.said(then), agent.cost, {_STATE: then}), cost=agent.cost)


class _Member(Agent):
    """An agent that draws from a world's tables; the draw depends on the episode and the step."""

    def __init__(self, agent: WorldAgent, kinds: Mapping[str, Kind]) -> None:
        self.spec = Candidate(agent.name, agent.description)
        self._agent = agent
        self._kinds = kinds

    @property
    def max_cost_usd(self) -> float:
        return self._agent.cost

    async def execute(self, state: TaskState) -> AgentOutput:
        kind = self._kinds[state.task.id.rpartition("-")[0]]
        next_states = kind.next_states(standing(state, kind), self._agent.name)
        reached = np.cumsum(list(next_states.values()))
        place = int(np.searchsorted(reached, uniform(state.seed, f"{len(state.history)}") * reached[-1], side="right"))
        output = turn(self._agent, kind, list(next_states)[place]).output
        assert output is not None
        return output


@attrs.frozen
class _Chance:
    """Judges an answer correct with its state's probability; a task has the same draw in every state."""

    kind: Kind = attrs.field(repr=False)
    seed: int

    async def __call__(self, task: Task, answer: str) -> Verdict:
        chance = next((chance for state, chance in self.kind.solved.items() if self.kind.said(state) == answer), 0.0)
        return Verdict(uniform(self.seed, task.id) < chance)
