"""The agents of the Dynamic Orchestrator Agent framework."""

from aamc_puppeteer.doa.agents.base import AgentInterface
from aamc_puppeteer.doa.agents.core_agents import EchoAgent, TerminatorAgent

__all__ = ["AgentInterface", "EchoAgent", "TerminatorAgent"]
