"""The state of a task: the input of agents and policies."""

from __future__ import annotations

import enum

import attrs

from aamc_agents.tasks import Task
from aamc_sdk.interfaces import AgentOutput

ANSWER = "answer"
"""Metadata key of an output. If its value is true, the output is the task's answer and ends the episode."""


class Fault(enum.Enum):
    """The kind of failure of an activation."""

    RAISED = "raised"
    TIMEOUT = "timeout"
    NO_OUTPUT = "no_output"
    BAD_COST = "bad_cost"


@attrs.frozen(kw_only=True)
class Activation:
    """One turn of an agent.

    Attributes:
        agent: The agent's name.
        output: The output, or None if the agent failed.
        fault: How the agent failed, or None.
        error: The failure as a message, or None.
        public_error: The failure without addresses and texts of servers; None if ``error`` has none.
        seconds: Duration.
        cost: Cost in USD, finite and at least 0: token prices for models, the configured price for tools. A failure may cost too.
    """

    agent: str
    output: AgentOutput | None = None
    fault: Fault | None = None
    error: str | None = None
    public_error: str | None = None
    seconds: float = 0.0
    cost: float = 0.0

    @property
    def answers(self) -> bool:
        """Whether the output is the task's answer."""
        return self.output is not None and self.output.metadata.get(ANSWER) is True

    @property
    def text(self) -> str:
        """The output's content, or the error for clients of the gateway and for other agents if the agent failed."""
        return self.public_error or self.error or "" if self.output is None else self.output.content

    @property
    def tokens(self) -> int:
        """Tokens of the call according to the output's metadata; 0 for agents without a model."""
        count = None if self.output is None else self.output.metadata.get("tokens")
        return max(count, 0) if isinstance(count, int) else 0

    @property
    def prompt_tokens(self) -> int:
        """Those of the tokens that were the prompt, according to the output's metadata."""
        count = None if self.output is None else self.output.metadata.get("prompt_tokens")
        return min(max(count, 0), self.tokens) if isinstance(count, int) else 0


@attrs.frozen(kw_only=True)
class TaskState:
    """A task, the activations so far, and the number of activations left.

    Agents receive it without the task's reference, verifier, kind and difficulty.

    Attributes:
        task: The task.
        history: All activations so far, in order.
        steps_left: How many more activations are allowed.
        seed: The seed of the episode, for agents that draw, so that a resumed training repeats their draws.
    """

    task: Task
    history: tuple[Activation, ...] = ()
    steps_left: int = 0
    seed: int = 0

    @property
    def cost(self) -> float:
        """The cost of all activations in USD."""
        return sum(activation.cost for activation in self.history)

    @property
    def outputs(self) -> tuple[AgentOutput, ...]:
        """All outputs in order; failed activations have none."""
        return tuple(activation.output for activation in self.history if activation.output is not None)

    def after(self, activation: Activation) -> TaskState:
        """Return the state after another activation."""
        return attrs.evolve(self, history=(*self.history, activation), steps_left=self.steps_left - 1)


def answer(state: TaskState) -> str | None:
    """Return the current answer: the last output marked as the answer, else the last output; None if there is no output."""
    for activation in reversed(state.history):
        if activation.answers and activation.output is not None:
            return activation.output.content
    return state.outputs[-1].content if state.outputs else None
