"""Episodes: running agents on the state of a task, rewards, and finished episodes as objects and files."""

from aamc_puppeteer.episodes.choices import by_chance, in_order, play
from aamc_puppeteer.episodes.executor import Executor
from aamc_puppeteer.episodes.player import Running, begin
from aamc_puppeteer.episodes.rewards import EpisodeReward
from aamc_puppeteer.episodes.trajectory import Stop, Trajectory, append_trajectories, read_trajectories, write_trajectories

__all__ = [
    "EpisodeReward",
    "Executor",
    "Running",
    "Stop",
    "Trajectory",
    "append_trajectories",
    "begin",
    "by_chance",
    "in_order",
    "play",
    "read_trajectories",
    "write_trajectories",
]
