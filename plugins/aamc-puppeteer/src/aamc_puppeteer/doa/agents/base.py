"""The interface of an agent."""

from __future__ import annotations

import abc
import asyncio

from aamc_puppeteer.doa.structs import AgentOutput, SystemState


class AgentInterface(abc.ABC):
    """An agent, whose name is unique in an orchestrator. Implement :meth:`execute`, and for asyncio also :meth:`aexecute`."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def name(self) -> str:
        """The agent's name."""
        return self._name

    @abc.abstractmethod
    def execute(self, state: SystemState) -> AgentOutput:
        """Act on the state of a task."""

    async def aexecute(self, state: SystemState) -> AgentOutput:
        """Act on the state of a task without blocking the event loop; by default runs :meth:`execute` in a thread."""
        return await asyncio.to_thread(self.execute, state)
