"""What an agent is."""

from __future__ import annotations

import abc
import asyncio

from aamc_puppeteer.doa.structs import AgentOutput, SystemState


class AgentInterface(abc.ABC):
    """Something that can be activated. Implement :meth:`execute`; for asyncio, :meth:`aexecute` as well.

    Args:
        name: What it is called; no two agents of an orchestrator share a name.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def name(self) -> str:
        """What it is called."""
        return self._name

    @abc.abstractmethod
    def execute(self, state: SystemState) -> AgentOutput:
        """Act on the state of a task."""

    async def aexecute(self, state: SystemState) -> AgentOutput:
        """Act on the state of a task without keeping others waiting; by default :meth:`execute` on a thread."""
        return await asyncio.to_thread(self.execute, state)
