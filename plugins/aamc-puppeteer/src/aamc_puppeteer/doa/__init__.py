"""The interface of the Dynamic Orchestrator Agent framework, as an adapter of the puppeteer.

Programs run with ``aamc_puppeteer.doa`` in place of ``doa_framework`` in their imports; ``docs/how-to/from-doa.md`` lists the
differences.
"""

from aamc_puppeteer.doa.agents.base import AgentInterface
from aamc_puppeteer.doa.agents.core_agents import EchoAgent, TerminatorAgent
from aamc_puppeteer.doa.orchestrator import Orchestrator
from aamc_puppeteer.doa.policy import PolicyNetwork
from aamc_puppeteer.doa.rewards import calculate_reward
from aamc_puppeteer.doa.structs import AgentOutput, EpisodeTrajectory, RewardConfig, SystemState, TrajectoryStep
from aamc_puppeteer.doa.trainer import REINFORCETrainer

__all__ = [
    "AgentInterface",
    "AgentOutput",
    "EchoAgent",
    "EpisodeTrajectory",
    "Orchestrator",
    "PolicyNetwork",
    "REINFORCETrainer",
    "RewardConfig",
    "SystemState",
    "TerminatorAgent",
    "TrajectoryStep",
    "calculate_reward",
]
