"""Tasks, agents and worlds with known solutions, on which orchestration is tested and measured. They are not production agents."""

from aamc_puppeteer.tasks.sources import split_tasks
from aamc_puppeteer.testbed.baselines import AgentRoute, best_pipeline, cheapest_route
from aamc_puppeteer.testbed.suites import DIFFICULTIES, SUITES, TOOLS, load_suite
from aamc_puppeteer.testbed.worlds import AgentWorld, Kind, WorldAgent

__all__ = [
    "DIFFICULTIES",
    "SUITES",
    "TOOLS",
    "AgentRoute",
    "AgentWorld",
    "Kind",
    "WorldAgent",
    "best_pipeline",
    "cheapest_route",
    "load_suite",
    "split_tasks",
]
