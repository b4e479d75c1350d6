"""The interface of the Dynamic Orchestrator Agent framework: its programs run with the name in their imports changed.

Put ``aamc_puppeteer.doa`` where they say ``doa_framework``; ``docs/how-to/from-doa.md`` says what differs.
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
