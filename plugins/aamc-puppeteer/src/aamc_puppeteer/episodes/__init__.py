"""Episodes: running agents on the state of a task, rewards, and finished episodes as objects and files."""

from aamc_puppeteer.episodes.executor import Executor
from aamc_puppeteer.episodes.player import Player, Running, begin
from aamc_puppeteer.episodes.rewards import EpisodeReward, discounted_returns
from aamc_puppeteer.episodes.trajectory import STOP, Stop, Trajectory, append_trajectories, read_trajectories, write_trajectories

__all__ = [
    "STOP",
    "EpisodeReward",
    "Executor",
    "Player",
    "Running",
    "Stop",
    "Trajectory",
    "append_trajectories",
    "begin",
    "discounted_returns",
    "read_trajectories",
    "write_trajectories",
]
