"""Training of ``ppo``: a million steps at the defaults, with more candidates, compared with the processor's limit, and its memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from aamc_environments.queue import QueueEnvironment, standalone
from aamc_ppo.rollout import PAIR_WIDTH
from aamc_ppo.router import PPOConfig, PPORouter

from aamc_sdk.interfaces import Progress, Training
from speed.clock import cpu_and_wall_s, matmul_flops, peak_mib
from speed.decision import pool_of
from speed.measurement import Measurement, result

SIZES = {6: 1.0, 20: 1.2, 100: 1.6}
"""Numbers of candidates, with the goals for the time as a multiple of that for six."""
MILLION = 1_000_000
MEASURED = 16 * 16_384
"""Steps from which the time of a million is extrapolated unless ``full``."""


def measure(folder: Path, progress: Progress, full: bool) -> dict[str, Any]:
    """Measure the seconds of a million steps, 6 to 100 candidates in turns, and compare with the floor."""
    worlds = {size: standalone(pool_of(size)) for size in SIZES}
    train(worlds[6], 16_384)  # loads torch
    times = {size: [(np.inf, np.inf)] for size in SIZES}
    for _ in range(3):
        for size, world in worlds.items():
            times[size].append(per_million(world, MILLION if full else MEASURED))
    cpu, wall = ({size: min(pair[part] for pair in pairs) for size, pairs in times.items()} for part in (0, 1))
    config, query = PPOConfig(), worlds[6].vector(1, "train").observer.width - 3 - 6 * PAIR_WIDTH
    flops = MILLION * operations(config, query, 6)
    floor = flops / matmul_flops()
    figures = [Measurement(what="a million steps at the defaults", unit="s of CPU", value=cpu[6], beside="the floor", other=floor, goal="at most 15")]
    for size in (20, 100):
        what, goal = f"a million steps, {size} candidates", f"ratio at most {SIZES[size]}"
        figures.append(Measurement(what=what, unit="s of CPU", value=cpu[size], beside="six candidates", other=cpu[6], goal=goal))
    steps = MILLION if full else MEASURED
    return result(figures, "ppo", cpu_s=cpu, wall_s=wall, measured_steps=steps, flops=flops, floor_s=floor, epochs=config.epochs)


def memory(folder: Path, progress: Progress, full: bool) -> dict[str, Any]:
    """Measure the memory of training beyond that of torch and one update; alone in its process."""
    before_import = peak_mib()
    train(standalone(pool_of(6)), 64, n_streams=64, n_steps=64)
    before, figures = peak_mib(), []
    for size in SIZES:  # in ascending order, because the measured peak never falls
        train(standalone(pool_of(size)), MILLION if full else MEASURED)
        what = f"memory of training, {size} candidates, beyond torch's own"
        figures.append(Measurement(what=what, unit="MiB", value=peak_mib() - before, goal="under 1024"))
    return result(figures, "ppo", torch_mib=before - before_import)


def train(world: QueueEnvironment, steps: int, **options: Any) -> PPORouter:
    """Train ppo on a world without choosing the trust, which needs validation rows."""
    router = PPORouter(PPOConfig(**{"total_timesteps": steps, "kl_limit": 0.0, **options}), world.services)
    router.train(Training(dataset=world.dataset("train"), env=world))
    return router


def per_million(world: QueueEnvironment, steps: int, **options: Any) -> tuple[float, float]:
    """Return the CPU and wall-clock seconds of a million steps, extrapolated from fewer; no step is undone."""
    cpu, wall = cpu_and_wall_s(lambda: train(world, steps, **options))
    return MILLION / steps * cpu, MILLION / steps * wall


def operations(config: PPOConfig, query: int, candidates: int) -> float:
    """Return the floating-point operations of the necessary products of training, for each decision: see :func:`aamc_ppo.ppo.utility`.

    A product of B x I and I x O matrices takes 2 I O operations a row. Going back it takes as many for the weights, and as
    many for the inputs where these depend on parameters. A rollout goes forward once, an epoch forward and back. ``query`` is Q, the number of
    query features.
    """
    heads = 3 * (config.embedding + PAIR_WIDTH)
    first = query * config.hidden + (query + 3 + 2 * PAIR_WIDTH) * config.hidden  # into both hidden layers: nothing to go back to
    weighing, load = heads, PAIR_WIDTH * candidates  # weights and pair features are given, so one way back
    others = config.hidden * heads + 3 * config.hidden + config.embedding * candidates  # out of the hidden layers, and equation (3)
    forward = first + weighing + load + others
    back = first + weighing + load + 2 * others
    return 2.0 * (forward + config.epochs * (forward + back))
