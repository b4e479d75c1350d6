"""Steps per second of the simulator: one ``Env``, and 1,024 streams in one ``VectorEnv``, beside what Gymnasium offers.

Measured in turns in the same run, so that all meet the same machine, as steps per second of CPU time of one thread, the most of
some repeats:

- ``single``: ``aamc/Queue-v0`` as a bare ``Env``; ``vectorised``: the natively vectorised streams;
- ``sync_vector``: eight single ``Env`` in Gymnasium's ``SyncVectorEnv``, the usual way to many;
- ``cart_pole``: Gymnasium's ``CartPole-v1``, a step of plain arithmetic on four numbers;
- ``draws``: of the random numbers alone that a step of the vectorised streams consumes, which bounds their speed.

Prints JSON, with the functions in which the time goes::

    OMP_NUM_THREADS=1 python benchmarks/simulator.py
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import platform
import pstats
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from aamc_environments.luck import BLOCK, GROUP
from aamc_environments.single import QueueEnv, standalone

STREAMS, SYNC = 1024, 8
STEPS, VECTOR_STEPS = 20_000, 320
EXPONENTIALS, UNIFORMS = 5, 4
"""Random numbers of a step: of queries, two and four; of preferences, three exponentials."""
DEAREST = 6
"""Functions of a profile that are shown."""

Play = Callable[[], int]
"""Makes some steps, and returns how many."""


def play_one(environment: gymnasium.Env[Any, Any]) -> Play:
    """Return a play of random actions, which begins anew where a stream ends."""
    environment.reset(seed=0)
    actions = np.random.default_rng(0).integers(0, environment.action_space.n, STEPS)  # type: ignore[attr-defined]  # a Discrete space

    def play() -> int:
        for action in actions:
            _, _, terminated, truncated, _ = environment.step(action)
            if terminated or truncated:
                environment.reset()
        return STEPS

    return play


def play_many(streams: gymnasium.vector.VectorEnv[Any, Any, Any], steps: int) -> Play:
    """Return a play of random actions in many streams."""
    streams.reset(seed=0)
    candidates = streams.single_action_space.n  # type: ignore[attr-defined]  # a Discrete space
    rows = np.random.default_rng(0).integers(0, candidates, (steps, streams.num_envs))

    def play() -> int:
        for actions in rows:
            streams.step(actions)
        return int(rows.size)

    return play


def draw_numbers() -> int:
    """Draw what ``VECTOR_STEPS`` steps of all streams take."""
    for group in range(STREAMS // GROUP):
        generator = np.random.default_rng(group)
        for _ in range(VECTOR_STEPS // BLOCK):
            generator.standard_exponential((BLOCK, EXPONENTIALS, GROUP))
            generator.random((BLOCK, UNIFORMS, GROUP))
    return STREAMS * VECTOR_STEPS


def rates(plays: dict[str, Play], repeats: int) -> dict[str, int]:
    """Return each play's greatest rate, in steps per second of CPU time: what else the machine does only slows one down."""
    found = dict.fromkeys(plays, 0.0)
    for _ in range(repeats):
        for name, play in plays.items():
            started = time.thread_time()
            steps = play()
            found[name] = max(found[name], steps / (time.thread_time() - started))
    return {name: round(rate) for name, rate in found.items()}


def profile(play: Play) -> dict[str, float]:
    """Return the shares of the time that the dearest functions take, without what they call."""
    profiler = cProfile.Profile(time.thread_time)
    profiler.runcall(play)
    stats = pstats.Stats(profiler).get_stats_profile()
    dearest = sorted(stats.func_profiles.items(), key=lambda item: -item[1].tottime)[:DEAREST]
    return {f"{Path(entry.file_name).name}:{name}": round(entry.tottime / stats.total_tt, 3) for name, entry in dearest}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    single, many = QueueEnv(horizon=256), standalone(horizon=256).vector(STREAMS, "train")
    sync = gymnasium.vector.SyncVectorEnv([lambda: QueueEnv(horizon=256)] * SYNC)
    plays: dict[str, Play] = {
        "single": play_one(single),
        "vectorised": play_many(many, VECTOR_STEPS),
        "sync_vector": play_many(sync, STEPS // SYNC),
        "cart_pole": play_one(gymnasium.make("CartPole-v1").unwrapped),
        "draws": draw_numbers,
    }
    found = rates(plays, repeats)
    pairs = (("vectorised", "single"), ("vectorised", "sync_vector"), ("single", "cart_pole"), ("vectorised", "draws"))
    result = {
        "candidates": len(many.staged.pool),
        "streams": STREAMS,
        "steps_per_cpu_second": found,
        "ratios": {f"{one}/{other}": round(found[one] / found[other], 2) for one, other in pairs},
        "profile": {name: profile(plays[name]) for name in ("single", "vectorised")},
        "machine": {"python": platform.python_version(), "numpy": np.__version__, "cores": os.cpu_count(), "processor": platform.machine()},
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
