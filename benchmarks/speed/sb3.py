"""Training by Stable-Baselines3 on the same simulator, compared with ours: on one ``Env``, on eight, and on the vectorised streams."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aamc_environments.queue.gymnasium_env import QueueEnv, standalone

from aamc_sdk.interfaces import Progress
from speed.clock import cpu_s, missing
from speed.measurement import Measurement, result
from speed.ppo import MILLION, per_million, train

if TYPE_CHECKING:
    from aamc_environments.streams import Streams
    from stable_baselines3 import PPO

SAME = {"gamma": 0.0, "epochs": 4, "minibatch": 512}
"""Our options in a comparison at the same settings."""
AS_ITS_DEFAULTS = {"gamma": 0.99, "epochs": 10, "minibatch": 64, "n_streams": 8, "group_size": 1, "n_steps": 2048, "learning_rate": 3e-4}
BEST = {"gamma": 0.0, "n_epochs": 4, "batch_size": 512, "learning_rate": 1e-3, "ent_coef": 0.0}
"""The best known settings of Stable-Baselines3 on this simulator."""
SETTINGS: dict[str, dict[str, Any]] = {"defaults": {}, "eight": {**BEST, "n_steps": 256}, "streams": {**BEST, "n_steps": 32}}
STREAMS = 512
MEASURED = {"defaults": 4 * 2048, "eight": 8 * 2048, "streams": 4 * 16_384}
"""Steps from which a million's time is extrapolated; whole rollouts."""


def measure(folder: Path, progress: Progress, full: bool) -> dict[str, Any]:
    """Measure the seconds of a million steps of both sides, in turns."""
    if (why := missing("stable_baselines3")) is not None:
        return result([Measurement(what="Stable-Baselines3", unit="s of CPU", value=None, why=why)], "ppo")
    import torch

    torch.set_num_threads(1)  # as ours does: the fastest for nets this small
    world = standalone()
    train(world, 16_384)  # loads torch
    steps = {name: number * (8 if full else 1) for name, number in MEASURED.items()}
    ours, theirs = dict.fromkeys(("ours", "same", "as its defaults"), 1e9), dict.fromkeys(steps, 1e9)
    for _ in range(2):
        for name, options in (("ours", {}), ("same", SAME), ("as its defaults", AS_ITS_DEFAULTS)):
            ours[name] = min(ours[name], per_million(world, steps["defaults" if name == "as its defaults" else "streams"], **options)[0])
        for name, number in steps.items():
            theirs[name] = min(theirs[name], MILLION / number * cpu_s(partial(learner(name).learn, number)))
    rows = (
        ("its defaults, one Env", "defaults", "ours", "our defaults", "ratio at least 15"),
        ("its defaults, one Env", "defaults", "as its defaults", "ours, the same gamma, epochs, minibatch", "-"),
        ("its best settings, eight Envs", "eight", "ours", "our defaults", "ratio at least 3"),
        ("its best settings, eight Envs", "eight", "same", "ours, the same gamma, epochs, minibatch", "-"),
        ("its best settings, our vectorised streams", "streams", "ours", "our defaults", "ratio above 1"),
        ("its best settings, our vectorised streams", "streams", "same", "ours, the same gamma, epochs, minibatch", "ratio above 1"),
    )
    figures = [
        Measurement(
            what=f"a million steps by Stable-Baselines3, {what}", unit="s of CPU", value=theirs[name], beside=beside, other=ours[own], goal=goal
        )
        for what, name, own, beside, goal in rows
    ]
    return result(figures, "ppo", theirs=theirs, ours=ours, measured_steps=steps)


def learner(name: str, streams: Streams | None = None, seed: int = 0) -> PPO:
    """Return Stable-Baselines3's PPO with one of the settings, and its own environment or the given one."""
    from aamc_environments.sb3 import StreamsVecEnv
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

    environment: VecEnv
    if name == "streams":
        environment = StreamsVecEnv(standalone().vector(STREAMS, "train") if streams is None else streams)
    else:
        environment = DummyVecEnv([QueueEnv] * (8 if name == "eight" else 1))
    return PPO("MlpPolicy", environment, device="cpu", seed=seed, **SETTINGS[name])
