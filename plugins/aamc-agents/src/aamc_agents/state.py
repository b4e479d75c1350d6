"""What happened on a task so far: all that agents and the policy see."""

from __future__ import annotations

import enum

import attrs

from aamc_puppeteer.tasks import Task, Verdict
from aamc_sdk.interfaces import AgentOutput

STOP = "stop"
"""How decisions call the policy's own decision to end an episode; no agent may be named so."""
ANSWER = "answer"
"""An output whose metadata has this key, true, is the task's answer, and ends the episode: a concluder's, a terminator's."""


class Fault(enum.Enum):
    """How an activation failed."""

    RAISED = "raised"
    TIMEOUT = "timeout"
    NO_OUTPUT = "no_output"
    BAD_COST = "bad_cost"


class Stop(enum.Enum):
    """Why an episode ended."""

    ANSWERED = "answered"
    """An agent gave the answer."""
    STOPPED = "stopped"
    """The policy chose to stop."""
    TRUNCATED = "truncated"
    """The steps were used up."""
    OUT_OF_BUDGET = "out_of_budget"
    """The money or the time was used up."""
    FAILED = "failed"
    """There was nothing to do: the task is empty."""


@attrs.frozen(kw_only=True)
class Activation:
    """One agent's turn.

    Attributes:
        agent: Its name.
        output: What it said, or None where it failed.
        fault: How it failed, or None.
        error: The same in words, or None.
        seconds: How long it took.
        cost: What it cost, finite and at least 0: USD for models, the configured price for tools. A failure may cost too.
    """

    agent: str
    output: AgentOutput | None = None
    fault: Fault | None = None
    error: str | None = None
    seconds: float = 0.0
    cost: float = 0.0

    @property
    def answers(self) -> bool:
        """Whether its output is the task's answer."""
        return self.output is not None and self.output.metadata.get(ANSWER) is True


@attrs.frozen(kw_only=True)
class TaskState:
    """A task, who has worked on it with what result, and how many steps are left.

    Agents get it with the task's truth left out.

    Attributes:
        task: What is to be done.
        history: Who has worked on it, in order.
        steps_left: How many activations are still allowed.
        luck: A number of this episode, for agents that draw: with it a stopped training goes on exactly.
    """

    task: Task
    history: tuple[Activation, ...] = ()
    steps_left: int = 0
    luck: int = 0

    @property
    def cost(self) -> float:
        """What all activations cost together."""
        return sum(activation.cost for activation in self.history)

    @property
    def outputs(self) -> tuple[AgentOutput, ...]:
        """What agents said, in order; failures said nothing."""
        return tuple(activation.output for activation in self.history if activation.output is not None)

    def after(self, activation: Activation) -> TaskState:
        """Return the state that follows an agent's turn."""
        return attrs.evolve(self, history=(*self.history, activation), steps_left=self.steps_left - 1)


def answer(state: TaskState) -> str | None:
    """Return the answer as it stands: what an agent declared to be it, else what was said last; None before anyone said anything."""
    for activation in reversed(state.history):
        if activation.answers and activation.output is not None:
            return activation.output.content
    return state.outputs[-1].content if state.outputs else None


@attrs.frozen(kw_only=True)
class Trajectory:
    """A finished episode.

    Attributes:
        state: Where it ended; its history is what happened.
        stop: Why it ended.
        verdict: Whether it was right; None where the task has no verifier.
        probabilities: Of each action when it was drawn; the decision to stop has one too, and comes last.
        rewards: Of each action, in the order of ``probabilities``.
    """

    state: TaskState
    stop: Stop
    verdict: Verdict | None = None
    probabilities: tuple[float, ...] = ()
    rewards: tuple[float, ...] = ()

    @property
    def succeeded(self) -> bool:
        """Whether the verifier called the answer right."""
        return self.verdict is not None and self.verdict.correct

    @property
    def total_reward(self) -> float:
        """The undiscounted sum of the rewards."""
        return sum(self.rewards)
