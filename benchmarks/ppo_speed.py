"""Seconds and memory of training ppo, compared with Stable-Baselines3, as ``aamc bench speed --parts ppo`` measures them: prints JSON."""

from speed.benchmark import show

if __name__ == "__main__":
    show("ppo", __doc__)
