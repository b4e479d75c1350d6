"""Seconds and memory of training ppo, beside Stable-Baselines3, as ``aamc bench speed --parts ppo`` measures them: prints JSON."""

from aamc_bench.speed.experiment import show

if __name__ == "__main__":
    show("ppo", __doc__)
