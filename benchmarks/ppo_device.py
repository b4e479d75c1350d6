"""A million steps of PPO on a GPU and on the CPU of the same machine: prints JSON.

The simulator stays on the CPU; updates run on the device. Options other than the defaults show when a GPU pays:
more candidates, wider networks, larger batches. ``return`` is the mean reward of the last rollout, the same on both up to chance.

    OMP_NUM_THREADS=1 python benchmarks/ppo_device.py
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import attrs
import torch
from aamc_environments.queue import standalone
from aamc_ppo.router import PPOConfig, PPORouter
from speed.clock import cpu_and_wall_s
from speed.decision import pool_of

from aamc_sdk.interfaces import Training

WARM_UP_STEPS = 65_536
CASES: dict[str, tuple[int, dict[str, Any]]] = {
    "defaults, 6 candidates": (6, {}),
    "defaults, 100 candidates": (100, {}),
    "hidden layers of 512, minibatches of 16,384": (
        6,
        {"hidden": 512, "minibatch": 16_384, "n_streams": 2048, "n_steps": 65_536, "total_timesteps": 262_144},
    ),
    "4,096 streams, minibatches of 32,768": (6, {"n_streams": 4096, "n_steps": 131_072, "minibatch": 32_768, "learning_rate": 2e-3}),
}
"""The number of candidates and the options of each case."""


def measure(device: str, candidates: int, options: dict[str, Any]) -> dict[str, float]:
    """Return wall-clock and CPU seconds of a training, and its last return."""
    world = standalone(pool_of(candidates))
    training = Training(dataset=world.dataset("train"), env=world)
    wanted = {"total_timesteps": 1_000_000, "validation_steps": 0, **options}
    for steps in (WARM_UP_STEPS, wanted["total_timesteps"]):
        router = PPORouter(PPOConfig(**wanted | {"total_timesteps": steps}), attrs.evolve(world.services, device=device))
        found: dict[str, Any] = {}
        cpu, wall = cpu_and_wall_s(lambda: found.update(router.train(training)))  # noqa: B023  # called at once
    last = found["curve"][-1]
    return {"steps": last["step"], "wall_s": wall, "cpu_s": cpu, "return": last["return"]}


def main() -> None:
    there = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", nargs="+", choices=there, default=there, help="Devices to train on (default: all available).")
    given = parser.parse_args()
    found = {name: {device: measure(device, candidates, options) for device in given.devices} for name, (candidates, options) in CASES.items()}
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    print(json.dumps({"gpu": gpu, "torch": torch.__version__, "cases": found}, indent=1))


if __name__ == "__main__":
    main()
