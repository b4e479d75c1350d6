"""Steps per second of the simulator: one ``Env``, and 1,024 streams at once, measured in the same run.

Prints JSON. Run it on an idle machine: ``OMP_NUM_THREADS=1 python benchmarks/simulator.py``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from aamc_environments.single import QueueEnv, standalone

STREAMS = 1024
REPEATS = 5


def best_rate(play: Callable[[], int]) -> float:
    """Return the greatest of several rates, in steps per second: what else the machine does only slows one down."""
    rates = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        steps = play()
        rates.append(steps / (time.perf_counter() - start))
    return max(rates)


def main() -> None:
    """Measure and print."""
    single = QueueEnv()
    single.reset(seed=0)
    streams = standalone().vector(STREAMS, "train")
    streams.reset(seed=0)
    candidates = int(single.action_space.n)  # type: ignore[attr-defined]  # a Discrete space
    one = [np.int64(m) for m in np.random.default_rng(0).integers(0, candidates, 5000)]
    many: Any = np.random.default_rng(0).integers(0, candidates, (300, STREAMS))

    def play_one() -> int:
        for action in one:
            single.step(action)
        return len(one)

    def play_many() -> int:
        for actions in many:
            streams.step(actions)
        return int(many.size)

    alone, together = best_rate(play_one), best_rate(play_many)
    figures = {"single": round(alone), "vectorised": round(together), "ratio": together / alone}
    print(json.dumps({"candidates": candidates, "streams": STREAMS, "steps_per_second": figures}))


if __name__ == "__main__":
    main()
