"""The terminator and the echo."""

from __future__ import annotations

from aamc_puppeteer.doa.agents.base import AgentInterface
from aamc_puppeteer.doa.structs import AgentOutput, SystemState


class TerminatorAgent(AgentInterface):
    """Ends the episode at no cost."""

    def __init__(self, name: str = "TerminatorAgent") -> None:
        super().__init__(name)

    def execute(self, state: SystemState) -> AgentOutput:
        """Return the reason of the end."""
        return AgentOutput("TERMINATE", 0.0, {"termination_reason": "agent_selected"})


class EchoAgent(AgentInterface):
    """Repeats the task, at a cost of 1."""

    def __init__(self, name: str = "EchoAgent") -> None:
        super().__init__(name)

    def execute(self, state: SystemState) -> AgentOutput:
        """Repeat the task."""
        about = {"agent_type": "echo", "step": state.current_step, "history_length": len(state.history)}
        return AgentOutput(f"Echo: {state.task_specification}", 1.0, about)
