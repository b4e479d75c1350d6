"""The simulator: one ``Env``, and 1,024 streams in one ``VectorEnv``, compared with Gymnasium's own.

``sync``: eight single ``Env`` in Gymnasium's ``SyncVectorEnv``, the usual way to many. ``cart_pole``: Gymnasium's ``CartPole-v1``, a
step of plain arithmetic on four numbers. ``draws``: the random numbers alone that a step of the vectorised streams consumes,
which bound their speed.
"""

from __future__ import annotations

import cProfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from aamc_environments.common_random_numbers import BLOCK, GROUP
from aamc_environments.queue.gymnasium_env import QueueEnv, standalone
from aamc_experiments.training import slowest_functions

from aamc_sdk.interfaces import Progress
from speed.clock import minimum_cpu_s
from speed.measurement import Measurement, result

STREAMS, SYNC = 1024, 8
STEPS, VECTOR_STEPS = 20_000, 320
EXPONENTIALS, UNIFORMS = 5, 4
"""Random numbers of a step: of queries, two and four; of preferences, three exponentials."""
MOST_EXPENSIVE = 6
"""The number of functions in a profile."""


def measure(folder: Path, progress: Progress, full: bool) -> dict[str, Any]:
    """Measure steps per second of CPU time."""
    many = standalone(horizon=256).vector(STREAMS, "train")
    sync = gymnasium.vector.SyncVectorEnv([lambda: QueueEnv(horizon=256)] * SYNC)
    plays = {
        "single": (play_one(QueueEnv(horizon=256)), STEPS),
        "vectorised": (play_many(many, VECTOR_STEPS), STREAMS * VECTOR_STEPS),
        "sync": (play_many(sync, STEPS // SYNC), STEPS),
        "cart_pole": (play_one(gymnasium.make("CartPole-v1").unwrapped), STEPS),
        "draws": (draw_numbers, STREAMS * VECTOR_STEPS),
    }
    seconds = minimum_cpu_s({name: play for name, (play, _) in plays.items()}, 7 if full else 3)
    rate = {name: steps / seconds[name] for name, (_, steps) in plays.items()}
    unit = "steps/s"
    figures = [
        Measurement(what="one Env", unit=unit, value=rate["single"], beside="CartPole-v1", other=rate["cart_pole"], goal="at least 82,000"),
        Measurement(what="1,024 streams", unit=unit, value=rate["vectorised"], beside="one Env", other=rate["single"], goal="ratio at least 50"),
        Measurement(what="1,024 streams", unit=unit, value=rate["vectorised"], beside="eight in SyncVectorEnv", other=rate["sync"]),
        Measurement(what="1,024 streams", unit=unit, value=rate["vectorised"], beside="their random numbers alone", other=rate["draws"]),
    ]
    return result(figures, "simulator", profile={name: profile(plays[name][0]) for name in ("single", "vectorised")})


def play_one(environment: gymnasium.Env[Any, Any]) -> Callable[[], None]:
    """Return a play of random actions, which resets the environment at a stream's end."""
    environment.reset(seed=0)
    actions = np.random.default_rng(0).integers(0, environment.action_space.n, STEPS)  # type: ignore[attr-defined]  # a Discrete space

    def play() -> None:
        for action in actions:
            _, _, terminated, truncated, _ = environment.step(action)
            if terminated or truncated:
                environment.reset()

    return play


def play_many(streams: gymnasium.vector.VectorEnv[Any, Any, Any], steps: int) -> Callable[[], None]:
    """Return a play of random actions in many streams."""
    streams.reset(seed=0)
    candidates = streams.single_action_space.n  # type: ignore[attr-defined]  # a Discrete space
    rows = np.random.default_rng(0).integers(0, candidates, (steps, streams.num_envs))

    def play() -> None:
        for actions in rows:
            streams.step(actions)

    return play


def draw_numbers() -> None:
    """Draw the random numbers of ``VECTOR_STEPS`` steps of all streams."""
    for group in range(STREAMS // GROUP):
        generator = np.random.default_rng(group)
        for _ in range(VECTOR_STEPS // BLOCK):
            generator.standard_exponential((BLOCK, EXPONENTIALS, GROUP))
            generator.random((BLOCK, UNIFORMS, GROUP))


def profile(play: Callable[[], None]) -> dict[str, float]:
    """Return the shares of time of the most expensive functions, without their callees."""
    profiler = cProfile.Profile(time.thread_time)
    profiler.runcall(play)
    whole = sum(entry.inlinetime for entry in profiler.getstats())
    return {name: round(seconds / whole, 3) for name, _, seconds in slowest_functions(profiler, MOST_EXPENSIVE)}
