"""The job: all policies of one scenario and seed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from aamc_environments.queue import Rule, mean_rewards, reference_rule, upper_bound
from aamc_ppo.router import PPOConfig, PPORouter

from aamc_bench.control.policies import REWARDS_FILE, ScenarioWorld, greedy_rule, greedy_truth_rule, random_rule
from aamc_sdk import Preference, Training
from aamc_sdk.config import configure
from aamc_sdk.interfaces import Progress
from aamc_sdk.routing import pool_from
from aamc_sdk.storage import write_arrays
from aamc_sdk.types import Floats

STREAMS = 128
"""Streams that each policy plays."""
STEPS = 1000
"""Steps that count, at least."""
BLOCK, MAX_BLOCKS = 100, 40
"""Steps of a block of the warm-up, and blocks at most."""
SETTLED = 2.0
"""Standard errors by which two neighbouring blocks may differ in a stationary state."""


def measure(
    folder: Path,
    progress: Progress,
    pool: Mapping[str, Any],
    environment: Mapping[str, Any],
    preference: str,
    seed: int,
    router: Mapping[str, Any],
    preset: str,
    sb3: bool,
    reward: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Train PPO, play every policy in the same streams, save each stream's mean rewards; return lengths of streams, a bound and PPO's trust factor.

    The file holds an array ``[streams]`` for each policy.
    """
    world, weights = ScenarioWorld.of(pool_from(pool, "the scenario's pool"), environment, seed, reward), Preference.parse(preference).array
    evaluation_seed = seed + 2**20
    warm_up, steps = stream_length(world, weights, evaluation_seed)
    ppo = _trained(world, folder, progress, router, preset)
    rules: dict[str, Rule] = {
        "random": random_rule(seed),
        "greedy": greedy_rule,
        "greedy-truth": greedy_truth_rule,
        "reference": reference_rule(world.streams(1, weights, evaluation_seed), weights),
        "ppo": lambda streams: ppo.score(streams.request()).utility,
    }
    if sb3:
        from aamc_bench.control.sb3 import train_sb3

        total = configure(PPOConfig, router, preset=preset).total_timesteps
        rules["sb3"] = train_sb3(world, total, seed, progress)
    progress.start("Streams", len(rules))
    rewards = {}
    for name, rule in rules.items():
        noise = world.estimate_error if name == "greedy" else 0.0
        rewards[name] = mean_rewards(world.streams(STREAMS, weights, evaluation_seed, noise), rule, warm_up, steps)
        progress.advance()
    write_arrays(folder / REWARDS_FILE, rewards)
    bound = upper_bound(world.streams(1, weights, evaluation_seed), weights)
    trust = None if ppo.trust is None else ppo.trust["factor"]
    return {"warm_up": warm_up, "steps": steps, "streams": STREAMS, "bound": bound, "trust": trust}


def _trained(world: ScenarioWorld, folder: Path, progress: Progress, options: Mapping[str, Any], preset: str) -> PPORouter:
    """Return router ``ppo``, trained with true expectations; an interrupted training continues."""
    router = PPORouter(configure(PPOConfig, options, preset=preset, where="router"), world.services)
    environment = world.environment
    train, validation = environment.dataset("train"), environment.dataset("validation")
    router.train(Training(dataset=train, validation=validation, env=environment, folder=folder / "ppo", resume=True, progress=progress))
    return router


def stream_length(world: ScenarioWorld, preference: Floats, seed: int) -> tuple[int, int]:
    """Return steps of warm-up and of measurement: whole days of a budget, and warm until greedy's rewards no longer change.

    Greedy's queues are longer than those of a policy that plans ahead, so they take the longest to fill.
    """
    streams = world.streams(STREAMS, preference, seed)
    block = streams.day or BLOCK
    blocks = [mean_rewards(streams, greedy_truth_rule, 0, block) for _ in range(2)]
    while len(blocks) < MAX_BLOCKS * BLOCK / block and not _settled(blocks):
        blocks.append(mean_rewards(streams, greedy_truth_rule, 0, block))
    return max(len(blocks) * block, -(-200 // block) * block), -(-STEPS // block) * block


def _settled(blocks: list[Floats]) -> bool:
    """Whether the last two blocks of each stream's rewards have the same mean, within the error of chance."""
    if len(blocks) < 4:
        return False
    change = (blocks[-1] + blocks[-2] - blocks[-3] - blocks[-4]) / 2
    return bool(abs(change.mean()) <= SETTLED * change.std() / np.sqrt(len(change)))
