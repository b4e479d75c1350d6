"""Environment ``queue``: a simulated pool of models under load, its scenarios, and the reference policies of their control."""

from aamc_environments.queue.environment import QueueEnvironment
from aamc_environments.queue.gymnasium_env import standalone
from aamc_environments.queue.options import SCENARIOS, QueueOptions
from aamc_environments.queue.queue_streams import QueueStreams
from aamc_environments.queue.reference import Rule, mean_rewards, present_rewards, reference_rule, upper_bound
from aamc_environments.queue.relative_values import NotConvergedError
from aamc_environments.queue.world import SimulatedWorld, Skill, read_world, sample_queries

__all__ = [
    "SCENARIOS",
    "NotConvergedError",
    "QueueEnvironment",
    "QueueOptions",
    "QueueStreams",
    "Rule",
    "SimulatedWorld",
    "Skill",
    "mean_rewards",
    "present_rewards",
    "read_world",
    "reference_rule",
    "sample_queries",
    "standalone",
    "upper_bound",
]
